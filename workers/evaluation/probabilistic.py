"""Probabilistic precision and recall: soft membership that decreases with the distance to the other set.

References:
    Park, Kim, "Probabilistic Precision and Recall Towards Reliable Evaluation of Generative Models", ICCV 2023,
        arXiv 2309.01590.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from workers.evaluation.cross_distances import CrossDistances
from workers.evaluation.points import Floats

K: Final = 4
_A: Final = 1.2


def support_radius(distances: Floats) -> float:
    """Return a · R, where R is the mean distance to the fourth neighbour and a = 1.2.

    Args:
        distances: To the nearest neighbours within a set, [N, 4 or more].
    """
    return _A * float(distances[:, K - 1].mean())


def probabilistic_precision(cross: CrossDistances) -> float:
    """Return the mean over generated y of 1 − Π_i (1 − max(0, 1 − ‖x_i − y‖ / (a R_X)))."""
    return float(1 - np.exp(cross.log_outside_real).mean())


def probabilistic_recall(cross: CrossDistances) -> float:
    """Return the same with the roles of real and generated samples exchanged."""
    return float(1 - np.exp(cross.log_outside_generated).mean())

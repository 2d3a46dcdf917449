"""Probabilistic precision and recall, where a sample counts the less the farther it is from the other set's.

References:
    Park, Kim, "Probabilistic Precision and Recall Towards Reliable Evaluation of Generative Models", ICCV 2023,
        arXiv 2309.01590.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from workers.evaluation.crossing import Crossing
from workers.evaluation.points import Floats

K: Final = 4
_STRETCH: Final = 1.2


def support(distances: Floats) -> float:
    """Return a · R, R the mean distance to the fourth neighbour and a = 1.2.

    Args:
        distances: To the nearest others of each sample of a set, [N, 4 or more].
    """
    return _STRETCH * float(distances[:, K - 1].mean())


def probabilistic_precision(crossing: Crossing) -> float:
    """Return the mean over generated y of 1 − Π_i (1 − max(0, 1 − ‖x_i − y‖ / (a R_X)))."""
    return float(1 - np.exp(crossing.missed_by_real).mean())


def probabilistic_recall(crossing: Crossing) -> float:
    """Return the same with the roles of real and generated samples exchanged."""
    return float(1 - np.exp(crossing.missed_by_generated).mean())

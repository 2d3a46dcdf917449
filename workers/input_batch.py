"""Batches of a model's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.vision.preprocess import Placement

Batch = dict[str, NDArray[np.generic]]
"""Arrays by input name, batch first."""


@dataclass(frozen=True)
class InputBatch:
    """Some samples of a dataset as a model's inputs.

    Args:
        inputs: Arrays by input name, batch first.
        indices: Positions in the dataset, [B].
        placements: Where each image lies in its input; empty for other inputs.
    """

    inputs: Batch
    indices: NDArray[np.integer]
    placements: Sequence[Placement] = ()

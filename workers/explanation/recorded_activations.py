"""Activation maps and concept patterns of a whole probe dataset, in files of the job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.explanation.pattern_table import PatternTable
from workers.explanation.probe.dataset import InputPlacement, Integers
from workers.explanation.row_file import RowFile
from workers.explanation.search.patterns import Bits


@dataclass(frozen=True)
class LayerActivations:
    """Activations of one layer: U units in N samples."""

    name: str
    """The tensor."""
    shape: tuple[int, int, int]
    """Units, rows and columns of the whole tensor."""
    units: Integers
    """Indices of the units to explain, int64 [U]."""
    maps: RowFile
    """Their activation maps, float32 [N, U, rows, columns]."""
    strongest: Integers
    """Samples with the highest activations of each unit, highest first, int64 [U, T]; padded with −1."""
    peaks: NDArray[np.float32]
    """Highest activation in each of them, float32 [U, T]."""


@dataclass(frozen=True)
class RecordedActivations:
    """Activations of a model on a probe dataset of N samples."""

    table: PatternTable
    """Patterns of concepts."""
    pattern_ids: RowFile
    """Pattern of each pixel, int32 [N, pixels]; −1 where the model does not see the pixel."""
    concepts: RowFile
    """Concepts present in each sample, packed bits, uint8 [N, ⌈K/8⌉]."""
    placements: list[InputPlacement]
    """Where each sample lies in the model's input; empty if all fill it."""
    layers: list[LayerActivations]
    """In the order of the request."""
    predicted: Integers | None
    """Predicted classes, int64 [N]; None if the model is no classifier."""

    def placement(self, sample: int) -> InputPlacement:
        """Return where a sample lies in the model's input."""
        return self.placements[sample] if self.placements else InputPlacement()


def formula_masks(
    recorded: RecordedActivations, strongest: Integers, vectors: Sequence[Bits | None], pixels: int
) -> NDArray[np.uint8]:
    """Return the masks of formulas in the samples with the highest activations, packed, uint8 [U, T, ⌈pixels/8⌉].

    Args:
        recorded: The activations.
        strongest: Samples of each unit, int64 [U, T].
        vectors: Vector over patterns of each unit's formula, bool [P]; None without a formula.
        pixels: Pixels of one sample.
    """
    masks = np.zeros((*strongest.shape, -(-pixels // 8)), np.uint8)
    for row, (samples, vector) in enumerate(zip(strongest, vectors, strict=True)):
        if vector is not None:
            # pattern −1 reads the last entry
            extended = np.append(vector, False)
            for place, sample in enumerate(samples):
                if sample >= 0:
                    ids = recorded.pattern_ids.rows(int(sample), int(sample) + 1)[0]
                    masks[row, place] = np.packbits(extended[ids])
    return masks

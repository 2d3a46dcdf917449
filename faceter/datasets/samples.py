"""The contents of datasets, and batches of samples as a model's input."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from faceter.vision.boxes import FloatArray, IntArray
from faceter.vision.preprocess import Placement

ProgressFunction = Callable[[float], None]
"""Called with the fraction done, 0 to 1."""


@dataclass(frozen=True)
class DatasetContents:
    """What a dataset holds: its samples, classes and concepts."""

    samples: int
    """Number of images, signals, rows of features or pairs of texts."""
    classes: list[str] = field(default_factory=list)
    """Names of its classes, or domains; empty if it is not labelled."""
    class_counts: dict[str, int] = field(default_factory=dict)
    """Samples, or boxes, of each class; images of each domain."""
    concepts: dict[str, list[str]] = field(default_factory=dict)
    """Names of its concepts by category; empty if it has none."""
    warnings: list[str] = field(default_factory=list)
    """What was ignored in the file, or read in a way worth knowing."""


@dataclass(frozen=True)
class Batch:
    """Some samples as a model's input."""

    inputs: FloatArray
    """float32 [B, C, H, W] of images, [B, C, L] of signals."""
    indices: IntArray
    """int64 [B]: positions in the dataset."""
    labels: IntArray | None
    """int64 [B]: class of each sample; None where they have none."""
    placements: list[Placement] = field(default_factory=list)
    """Where each image lies in its input; empty for signals."""


def evenly_spaced(total: int, count: int) -> list[int]:
    """Return up to ``count`` indices below ``total`` at even distances; all if there are fewer."""
    if count >= total:
        return list(range(total))
    return [math.floor((index + 0.5) * total / count) for index in range(count)]

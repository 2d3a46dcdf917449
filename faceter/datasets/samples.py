"""What datasets of every kind share: what they say of themselves, and batches of samples as a model's input."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from faceter.vision.boxes import FloatArray, IntArray
from faceter.vision.preprocess import Placement

ProgressFunction = Callable[[float], None]
"""Is told the fraction done, 0 to 1."""


@dataclass(frozen=True)
class DatasetSummary:
    """What a dataset was found to hold."""

    samples: int
    """How many samples: images, signals or pairs of texts."""
    classes: list[str] = field(default_factory=list)
    """Names of its classes, or domains; empty if it is not labelled."""
    class_counts: dict[str, int] = field(default_factory=dict)
    """Samples, or boxes, of each class; images of each domain."""
    concepts: dict[str, list[str]] = field(default_factory=dict)
    """Names of its concepts by category; empty if it carries none."""
    notes: list[str] = field(default_factory=list)
    """What was passed over."""


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


def spread(total: int, count: int) -> list[int]:
    """Return up to ``count`` indices spread evenly over ``total``, the same every time; all if there are fewer."""
    if count >= total:
        return list(range(total))
    return [math.floor((index + 0.5) * total / count) for index in range(count)]


def first_few(items: Sequence[str], limit: int = 5) -> str:
    """Return the first few of some names, quoted, and how many more there are."""
    shown = ", ".join(f"'{item}'" for item in items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"

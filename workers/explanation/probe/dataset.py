"""What a probe dataset offers: model inputs, and the concepts of every pixel.

A *pixel* is what a unit fires at: a pixel of an image, a moment of a signal, or a sentence pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from faceter.explanations.formulas import Concept

Array = NDArray[Any]
Integers = NDArray[np.int64]

DEFAULT_RESOLUTION = (112, 112)
"""Height and width at which masks of images are compared (Network Dissection)."""


@dataclass(frozen=True)
class ConceptRange:
    """The concepts of one label map: value k is the k-th concept of the range, 0 is none."""

    first: int
    """Number of its first concept."""
    size: int
    """How many concepts."""


@dataclass(frozen=True)
class InputPlacement:
    """Where a sample lies in the model's input, per axis (rows, columns).

    Positions are fractions: input = sample · scale + offset. A cropped sample extends beyond 0 to 1; a padded one
    fills only a part.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    """Extent of the whole sample, in inputs."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Where the sample begins."""

    @property
    def is_whole(self) -> bool:
        """Whether sample and input coincide."""
        return self == InputPlacement()


@dataclass(frozen=True)
class SampleConcepts:
    """The concepts of one sample."""

    label_maps: Integers
    """Label of each pixel in each label map, int64 [label maps, pixels]."""
    sample_level: tuple[int, ...] = ()
    """Numbers of the concepts of the whole sample, such as its scene, ascending."""


@dataclass(frozen=True)
class ProbeBatch:
    """A few samples."""

    inputs: dict[str, Array]
    """The model's inputs, batch first."""
    concepts: list[SampleConcepts]
    """Of each sample."""
    placements: list[InputPlacement]
    """Of each sample."""
    words: NDArray[np.bool_] | None = None
    """For a model with a tokenizer: which places of the inputs are tokens of words, bool [B, length]."""


class ProbeDataset(Protocol):
    """A dataset with concepts, prepared for one model."""

    @property
    def about(self) -> Literal["images", "signals", "text"]:
        """Kind of sample."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of a mask: a signal has one row, a sentence pair one pixel."""

    @property
    def concepts(self) -> Sequence[Concept]:
        """All concepts, by number."""

    @property
    def label_maps(self) -> Sequence[ConceptRange]:
        """The concepts of each label map."""

    @property
    def input_size(self) -> int:
        """Values in the model's input for one sample."""

    @property
    def classes(self) -> Integers | None:
        """Class of each sample in the order of the model's labels, int64 [N]; None without labels."""

    @property
    def warnings(self) -> Sequence[str]:
        """What a reader of the explanation should know about the samples."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        """Read some samples. Safe to call from several threads."""


class ConceptList:
    """Numbers concepts in the order in which they are added."""

    def __init__(self) -> None:
        self.concepts: list[Concept] = []
        self.label_maps: list[ConceptRange] = []

    def add(self, category: str, names: Sequence[str]) -> ConceptRange:
        """Add the concepts of a category and return their range, without a label map."""
        added = ConceptRange(len(self.concepts), len(names))
        self.concepts.extend(Concept(name, category) for name in names)
        return added

    def add_label_map(self, category: str, names: Sequence[str]) -> ConceptRange:
        """Add the concepts of a category and a label map of them."""
        added = self.add(category, names)
        self.label_maps.append(added)
        return added

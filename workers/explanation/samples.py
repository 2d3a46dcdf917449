"""Samples to explain units by: what the model is given of each, and which concepts its pixels carry.

A *pixel* is what a unit fires at or does not: a pixel of an image, a moment of a signal, a pair of texts.
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

PIXELS_OF_IMAGES = (112, 112)
"""Height and width at which masks of images are compared, as published."""


@dataclass(frozen=True)
class Group:
    """Concepts of which a pixel carries one at most: value k means the k-th, 0 none."""

    first: int
    """Number of its first concept."""
    size: int
    """How many there are."""


@dataclass(frozen=True)
class Frame:
    """Where a sample lies in the model's input, per axis (row, column): fraction of input = of sample · scale + offset.

    A sample that was cropped lies partly outside 0 to 1; one that was padded fills only a part.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    """How much of the input a whole sample would take."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Where it begins."""

    @property
    def is_whole(self) -> bool:
        """Whether the sample is the whole input."""
        return self == Frame()


@dataclass(frozen=True)
class Labels:
    """The concepts of one sample."""

    values: Integers
    """Value of each pixel in each group, int64 [groups, pixels]."""
    everywhere: tuple[int, ...] = ()
    """Numbers of the concepts true of the whole sample, rising."""


@dataclass(frozen=True)
class Read:
    """Some samples, read."""

    inputs: dict[str, Array]
    """The model's inputs, batch first."""
    labels: list[Labels]
    """Of each sample."""
    frames: list[Frame]
    """Of each sample."""


class Samples(Protocol):
    """The samples of a dataset, for one model."""

    @property
    def about(self) -> Literal["images", "signals", "text"]:
        """What they are."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of pixels: of a signal one row, of a pair of texts one pixel."""

    @property
    def concepts(self) -> Sequence[Concept]:
        """All concepts, in the order of their numbers."""

    @property
    def groups(self) -> Sequence[Group]:
        """Which of them exclude each other."""

    @property
    def input_values(self) -> int:
        """How many values one sample has as the model's input."""

    @property
    def classes(self) -> Integers | None:
        """Class of each sample in the order of the model's labels, int64 [N]; None where there are none."""

    @property
    def notes(self) -> Sequence[str]:
        """What could mislead a reader of the explanation."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> Read:
        """Read some samples; safe from several threads at once."""


class ConceptList:
    """Numbers concepts as they come."""

    def __init__(self) -> None:
        self.concepts: list[Concept] = []
        self.groups: list[Group] = []

    def add(self, category: str, names: Sequence[str]) -> Group:
        """Add the concepts of a category; return them as a group, which they need not be used as."""
        group = Group(len(self.concepts), len(names))
        self.concepts.extend(Concept(name, category) for name in names)
        return group

    def add_group(self, category: str, names: Sequence[str]) -> Group:
        """Add concepts of which a pixel carries one at most."""
        group = self.add(category, names)
        self.groups.append(group)
        return group

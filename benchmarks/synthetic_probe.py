"""A synthetic probe dataset with activations, of any size, generated on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from faceter.explanations.formulas import Concept
from workers.explanation.activations import SampleActivations
from workers.explanation.probe.dataset import ConceptRange, InputPlacement, Integers, ProbeBatch, SampleConcepts

_CATEGORIES = ("object", "part", "material", "texture", "color", "scene")
_SEGMENTS = 6


@dataclass(frozen=True)
class ProblemSize:
    """Size of the problem."""

    images: int = 63_000
    side: int = 112
    concepts: int = 1_200
    units: int = 512
    map_side: int = 7
    length: int = 3
    own_pattern: bool = False
    """Whether every pixel has its own pattern, the worst case."""


class SyntheticProbe:
    """A `ProbeDataset` and its `ActivationExtractor` of random rectangles.

    An image has objects in rectangles, each with its typical material, parts in their corners, colours, one texture and
    one scene. Units fire at one or two concepts each, and at noise.
    """

    about: Literal["images"] = "images"
    classes: Integers | None = None
    warnings: list[str] = []  # noqa: RUF012
    input_size = 1
    device = torch.device("cpu")

    def __init__(self, size: ProblemSize) -> None:
        self.size = size
        self.grid = (size.side, size.side)
        each = size.concepts // len(_CATEGORIES)
        self.concepts = [Concept(f"{name} {n}", name) for name in _CATEGORIES for n in range(each)]
        self.label_maps = [
            ConceptRange(number * each, each) for number in range(4 if not size.own_pattern else len(_CATEGORIES))
        ]
        self._each = each
        rng = np.random.default_rng(0)
        self._material = rng.integers(1, each + 1, each + 1)
        popular = 1 / np.arange(1, each + 1)
        self._popular = popular / popular.sum()
        self._preferred = rng.integers(0, each * 4, (size.units, 2))

    def __len__(self) -> int:
        return self.size.images

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        """Generate some images."""
        return ProbeBatch({}, [self._concepts(index) for index in indices], [InputPlacement()] * len(indices))

    def batch_size(self, probe: object) -> int:
        """Return how many to generate at a time."""
        return 8

    def run(self, probe: object, indices: Sequence[int]) -> list[SampleActivations]:
        """Generate some images and activations."""
        return [
            SampleActivations(concepts := self._concepts(index), InputPlacement(), [self._maps(index, concepts)], -1)
            for index in indices
        ]

    def _concepts(self, index: int) -> SampleConcepts:
        rng = np.random.default_rng([1, index])
        side, each = self.size.side, self._each
        if self.size.own_pattern:
            first = index * side * side + np.arange(side * side)
            digits = [first // each**power % each + 1 for power in range(len(_CATEGORIES))]
            return SampleConcepts(np.stack(digits))
        objects, parts = np.zeros((side, side), np.int64), np.zeros((side, side), np.int64)
        colors = np.zeros((side, side), np.int64)
        for _ in range(_SEGMENTS):
            top, left = rng.integers(0, side - 10, 2)
            high, wide = rng.integers(10, side // 2, 2)
            box = (slice(top, top + high), slice(left, left + wide))
            objects[box] = rng.choice(each, p=self._popular) + 1
            parts[box] = 0
            parts[top : top + high // 3, left : left + wide // 3] = objects[top, left]
            colors[box] = rng.integers(1, 12)
        label_maps = np.stack([objects, parts, np.where(objects > 0, self._material[objects], 0), colors])
        scene, texture = rng.choice(each, p=self._popular), rng.choice(each, p=self._popular)
        return SampleConcepts(label_maps.reshape(4, -1), (4 * each + int(texture), 5 * each + int(scene)))

    def _maps(self, index: int, concepts: SampleConcepts) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
        rng = np.random.default_rng([2, index])
        cells = self.size.map_side
        middles = ((np.arange(cells) + 0.5) * self.size.side / cells).astype(np.int64)
        at = concepts.label_maps.reshape(len(concepts.label_maps), self.size.side, -1)[:, middles[:, None], middles]
        maps = rng.standard_normal((self.size.units, cells, cells), np.float32)
        for place in range(2):
            label_map, value = np.divmod(self._preferred[:, place], self._each)
            maps += (3 - place) * (at[label_map] == (value + 1)[:, None, None])
        return maps

"""An explanation of the size of Broden: 63,000 images, 1,200 concepts of six categories, 512 units.

Images, labels and activations are made up as they are asked for, so nothing but the work itself takes memory. Each
measurement runs in a process of its own, so that its peak memory is its own too.

    python -m benchmarks.large_explanation whole
    python -m benchmarks.large_explanation growth --image docs/images/explanation-growth.png
    python -m benchmarks.large_explanation worst
    python -m benchmarks.large_explanation optimal
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from faceter.contracts.explanations import ExplanationRequest
from faceter.explanations.formulas import Concept
from workers.explanation.first_pass import FirstPassJob
from workers.explanation.layers import search_layer
from workers.explanation.samples import Frame, Group, Integers, Labels, Read
from workers.explanation.search import FormulaSearch
from workers.explanation.stream import Run
from workers.figures.growth import Growth, growth_png
from workers.jobs.journal import NoJournal
from workers.jobs.scratch import ScratchFiles

_CATEGORIES = ("object", "part", "material", "texture", "color", "scene")
_SEGMENTS = 6


@dataclass(frozen=True)
class Size:
    """How much there is to do."""

    images: int = 63_000
    side: int = 112
    concepts: int = 1_200
    units: int = 512
    map_side: int = 7
    length: int = 3
    own_pattern: bool = False
    """Whether every pixel has concepts of its own, the worst case."""


class MadeUp:
    """Images of a few rectangles; see `workers.explanation.samples.Samples` and `workers.explanation.stream.Source`.

    An image has objects in rectangles, each with a usual material, parts in corners of them, colours in bands, and one
    texture and one scene everywhere. Units fire at one or two concepts each, and at noise.
    """

    about: Literal["images"] = "images"
    classes: Integers | None = None
    notes: list[str] = []  # noqa: RUF012
    input_values = 1
    device = torch.device("cpu")

    def __init__(self, size: Size) -> None:
        self.size = size
        self.grid = (size.side, size.side)
        each = size.concepts // len(_CATEGORIES)
        self.concepts = [Concept(f"{name} {n}", name) for name in _CATEGORIES for n in range(each)]
        self.groups = [Group(number * each, each) for number in range(4 if not size.own_pattern else len(_CATEGORIES))]
        self._each = each
        rng = np.random.default_rng(0)
        self._material = rng.integers(1, each + 1, each + 1)
        popular = 1 / np.arange(1, each + 1)
        self._popular = popular / popular.sum()
        self._taste = rng.integers(0, each * 4, (size.units, 2))

    def __len__(self) -> int:
        return self.size.images

    def read(self, indices: Sequence[int]) -> Read:
        """Make up some images."""
        return Read({}, [self._labels(index) for index in indices], [Frame()] * len(indices))

    def batch(self, samples: object) -> int:
        """Return how many to make at a time."""
        return 8

    def run(self, samples: object, indices: Sequence[int]) -> list[Run]:
        """Make up some images and what units do at them."""
        return [Run(labels := self._labels(index), Frame(), [self._maps(index, labels)], -1) for index in indices]

    def _labels(self, index: int) -> Labels:
        rng = np.random.default_rng([1, index])
        side, each = self.size.side, self._each
        if self.size.own_pattern:
            first = index * side * side + np.arange(side * side)
            digits = [first // each**power % each + 1 for power in range(len(_CATEGORIES))]
            return Labels(np.stack(digits))
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
        values = np.stack([objects, parts, np.where(objects > 0, self._material[objects], 0), colors])
        scene, texture = rng.choice(each, p=self._popular), rng.choice(each, p=self._popular)
        return Labels(values.reshape(4, -1), (4 * each + int(texture), 5 * each + int(scene)))

    def _maps(self, index: int, labels: Labels) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
        rng = np.random.default_rng([2, index])
        cells = self.size.map_side
        middles = ((np.arange(cells) + 0.5) * self.size.side / cells).astype(np.int64)
        at = labels.values.reshape(len(labels.values), self.size.side, -1)[:, middles[:, None], middles]
        maps = rng.standard_normal((self.size.units, cells, cells), np.float32)
        for place in range(2):
            group, value = np.divmod(self._taste[:, place], self._each)
            maps += (3 - place) * (at[group] == (value + 1)[:, None, None])
        return maps


@dataclass(frozen=True)
class Took:
    """What it took."""

    patterns: int
    reading: float
    """Seconds of the first pass, the making up of images included."""
    counting_and_search: float
    search: float
    peak_mib: float
    optimal: int
    """Units whose formula is proven to be the best."""
    mean_iou: float
    mean_bound: float
    mean_ceiling: float


def measure(size: Size, search: str = "beam") -> Took:
    """Explain made-up units and return what it took."""
    torch.set_num_threads(1)
    source = MadeUp(size)
    request = ExplanationRequest.model_validate(
        {"dataset_id": "made-up", "layer": "made-up", "max_length": size.length, "search": search}
    )
    marks: dict[str, float] = {}

    def tell(step: str, _: float) -> None:
        marks.setdefault("searching" if step.startswith("searching") else step, time.perf_counter())

    with tempfile.TemporaryDirectory() as name, ScratchFiles(Path(name)) as files:
        began = time.perf_counter()
        first = FirstPassJob(source, source, request, lambda _, count: np.arange(count), files).run()
        read = time.perf_counter()
        patterns = first.table.patterns()
        result = search_layer(
            first, first.layers[0], source, FormulaSearch(patterns, request), source.device, files, NoJournal(), tell
        )
        done = time.perf_counter()
    found = [searched for searched in result.searched if searched is not None and searched.levels]
    return Took(
        patterns=len(patterns),
        reading=read - began,
        counting_and_search=done - read,
        search=done - marks["searching"],
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        optimal=sum(searched.optimal is True for searched in found),
        mean_iou=float(np.mean([searched.levels[-1].score for searched in found])),
        mean_bound=float(np.mean([searched.bound for searched in found])),
        mean_ceiling=float(np.mean([searched.ceiling for searched in found])),
    )


def apart(size: Size, search: str = "beam") -> Took:
    """Measure in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, size, search).result()


def _row(name: str, size: Size, took: Took) -> str:
    each = 1000 * took.search / size.units
    return (
        f"| {name} | {took.patterns:,} | {took.reading:,.0f} | {took.counting_and_search - took.search:,.0f} | "
        f"{took.search:,.1f} | {each:,.1f} | {took.peak_mib:,.0f} | {took.mean_iou:.4f} | "
        f"{took.optimal} | {took.mean_bound:.4f} | {took.mean_ceiling:.4f} |"
    )


_HEAD = (
    "| | patterns | reading, s | counting, s | search, s | search, ms a unit | peak, MiB | IoU | proven | "
    "bound | ceiling |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def growth(image: Path | None) -> None:
    """Measure how time grows with one thing at a time, and print a table."""
    base = Size(images=2_000, units=64)
    series: dict[str, list[tuple[float, Size]]] = {
        "concepts": [(n, replace(base, concepts=n)) for n in (60, 120, 300, 600, 1_200)],
        "images": [(n, replace(base, images=n)) for n in (250, 500, 1_000, 2_000, 4_000)],
        "length": [(n, replace(base, length=n)) for n in (1, 2, 3, 5, 10)],
        "units": [(n, replace(base, units=n)) for n in (16, 32, 64, 128, 256)],
    }
    print(_HEAD)
    lines = []
    for name, sizes in series.items():
        seconds, patterns = [], []
        for value, size in sizes:
            took = apart(size)
            print(_row(f"{name} {value:,.0f}", size, took), flush=True)
            seconds.append(took.search)
            patterns.append(float(took.patterns))
        x = patterns if name == "images" else [value for value, _ in sizes]
        lines.append(Growth(name, "patterns" if name == "images" else name, x, seconds))
    if image is not None:
        image.write_bytes(growth_png(lines, "Seconds of the search, 64 units, unless they vary"))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["whole", "growth", "worst", "optimal"])
    parser.add_argument("--images", type=int, default=63_000)
    parser.add_argument("--search", choices=["beam", "optimal"], default="beam")
    parser.add_argument("--image", type=Path)
    given = parser.parse_args()
    if given.what == "growth":
        growth(given.image)
        return
    print(_HEAD)
    if given.what == "whole":
        size = Size(images=given.images)
        print(_row(f"{given.images:,} images, 512 units, {given.search}", size, apart(size, given.search)))
        return
    if given.what == "optimal":
        for search in ("beam", "optimal"):
            size = Size(images=min(given.images, 2_000), units=64)
            print(_row(f"{size.images:,} images, 64 units, {search}", size, apart(size, search)), flush=True)
        return
    for images in (10, 20, 40, 80, 160):
        size = Size(images=images, units=16, own_pattern=True)
        print(_row(f"every pixel its own, {images} images, 16 units", size, apart(size)), flush=True)


if __name__ == "__main__":
    main()

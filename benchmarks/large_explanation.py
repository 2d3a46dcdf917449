"""An explanation at the size of Broden: 63,000 images, 1,200 concepts of six categories, 512 units.

Images, labels and activations are generated on demand, so they take no memory. Each
measurement runs in a process of its own, so that peak memory is measured separately.

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
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.scaling_figure import ScalingCurve, scaling_png
from benchmarks.synthetic_probe import ProblemSize, SyntheticProbe
from faceter.contracts.explanations import ExplanationRequest
from workers.explanation.activation_recorder import ActivationRecorder
from workers.explanation.layer_search import search_layer
from workers.explanation.search.formula_search import FormulaSearch
from workers.jobs.journal import NoJournal
from workers.jobs.scratch import ScratchFiles


@dataclass(frozen=True)
class Cost:
    """Time, memory and quality."""

    patterns: int
    reading: float
    """Seconds of the first pass, including the generation of images."""
    counting_and_search: float
    search: float
    peak_mib: float
    optimal: int
    """Units whose formula is proven to be optimal."""
    mean_iou: float
    mean_bound: float
    mean_ceiling: float


def measure(size: ProblemSize, search: str = "beam") -> Cost:
    """Explain synthetic units and return the cost."""
    torch.set_num_threads(1)
    probe = SyntheticProbe(size)
    request = ExplanationRequest.model_validate(
        {"dataset_id": "synthetic", "layer": "synthetic", "max_length": size.length, "search": search}
    )
    marks: dict[str, float] = {}

    def progress(step: str, _: float) -> None:
        marks.setdefault("searching" if step.startswith("searching") else step, time.perf_counter())

    with tempfile.TemporaryDirectory() as name, ScratchFiles(Path(name)) as files:
        began = time.perf_counter()
        recorded = ActivationRecorder(probe, probe, request, lambda _, count: np.arange(count), files).record()
        read = time.perf_counter()
        patterns = recorded.table.patterns()
        result = search_layer(
            recorded,
            recorded.layers[0],
            probe,
            FormulaSearch(patterns, request),
            probe.device,
            files,
            NoJournal(),
            progress,
        )
        done = time.perf_counter()
    searches = [search for search in result.searches if search is not None and search.by_length]
    return Cost(
        patterns=len(patterns),
        reading=read - began,
        counting_and_search=done - read,
        search=done - marks["searching"],
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        optimal=sum(one.optimal is True for one in searches),
        mean_iou=float(np.mean([one.by_length[-1].score for one in searches])),
        mean_bound=float(np.mean([one.bound for one in searches])),
        mean_ceiling=float(np.mean([one.ceiling for one in searches])),
    )


def in_own_process(size: ProblemSize, search: str = "beam") -> Cost:
    """Measure in a process of its own, for its peak memory."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, size, search).result()


def _row(name: str, size: ProblemSize, cost: Cost) -> str:
    each = 1000 * cost.search / size.units
    return (
        f"| {name} | {cost.patterns:,} | {cost.reading:,.0f} | {cost.counting_and_search - cost.search:,.0f} | "
        f"{cost.search:,.1f} | {each:,.1f} | {cost.peak_mib:,.0f} | {cost.mean_iou:.4f} | "
        f"{cost.optimal} | {cost.mean_bound:.4f} | {cost.mean_ceiling:.4f} |"
    )


_HEAD = (
    "| | patterns | reading, s | counting, s | search, s | search, ms a unit | peak, MiB | IoU | proven | "
    "bound | ceiling |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def growth(image: Path | None) -> None:
    """Measure how time grows with each dimension of the problem, and print a table."""
    base = ProblemSize(images=2_000, units=64)
    series: dict[str, list[tuple[float, ProblemSize]]] = {
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
            cost = in_own_process(size)
            print(_row(f"{name} {value:,.0f}", size, cost), flush=True)
            seconds.append(cost.search)
            patterns.append(float(cost.patterns))
        x = patterns if name == "images" else [value for value, _ in sizes]
        lines.append(ScalingCurve(name, "patterns" if name == "images" else name, x, seconds))
    if image is not None:
        image.write_bytes(scaling_png(lines, "Seconds of the search, 64 units, unless they vary"))


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
        size = ProblemSize(images=given.images)
        print(_row(f"{given.images:,} images, 512 units, {given.search}", size, in_own_process(size, given.search)))
        return
    if given.what == "optimal":
        for search in ("beam", "optimal"):
            size = ProblemSize(images=min(given.images, 2_000), units=64)
            print(_row(f"{size.images:,} images, 64 units, {search}", size, in_own_process(size, search)), flush=True)
        return
    for images in (10, 20, 40, 80, 160):
        size = ProblemSize(images=images, units=16, own_pattern=True)
        print(_row(f"every pixel its own, {images} images, 16 units", size, in_own_process(size)), flush=True)


if __name__ == "__main__":
    main()

"""Density and coverage against the authors' package `prdc`, and against the matrix products that are their lower bound.

Each runs in a process of its own, so that its memory is measured separately:

    python -m benchmarks.density_coverage
    python -m benchmarks.density_coverage --samples 5000 10000 20000 50000 --image docs/images/distances-growth.png
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

_BLOCK = 1000


def samples(count: int, width: int) -> tuple[Rows, Rows]:
    """Return real and generated samples of slightly different normal distributions, float32 [count, width], in files.

    An evaluation job has them memory-mapped as well.
    """
    rng = np.random.default_rng(0)
    return _in_file(count, width, rng, 1.0), _in_file(count, width, rng, 1.02)


def _in_file(count: int, width: int, rng: np.random.Generator, scale: float) -> Rows:
    with tempfile.TemporaryFile() as file:
        for first in range(0, count, _BLOCK):
            rows = scale * rng.standard_normal((min(_BLOCK, count - first), width), np.float32)
            file.write(rows.astype(np.float32).tobytes())
        file.flush()
        return np.memmap(file, np.float32, "r", shape=(count, width))


def by_faceter(real: Rows, generated: Rows, k: int) -> dict[str, float]:
    from workers.evaluation.comparison import compare

    return compare(real, generated, [k]).values()[0]


def by_prdc(real: Rows, generated: Rows, k: int) -> dict[str, float]:
    from prdc import compute_prdc

    found: dict[str, float] = compute_prdc(np.array(real), np.array(generated), k)
    return found


def products(real: Rows, generated: Rows, k: int) -> dict[str, float]:
    """Compute all matrix products that distances need, in float32: half of those within each set, and all between."""
    import torch

    step = 1024
    x, y = torch.from_numpy(np.array(real)), torch.from_numpy(np.array(generated))
    for left, right in ((x, x), (y, y), (x, y)):
        for row in range(0, len(left), step):
            for column in range(row if left is right else 0, len(right), step):
                torch.mm(left[row : row + step], right[column : column + step].T)
    return {}


IMPLEMENTATIONS: dict[str, Callable[[Rows, Rows, int], dict[str, float]]] = {
    "faceter": by_faceter,
    "prdc": by_prdc,
    "products": products,
}


@dataclass(frozen=True)
class Measurement:
    """Time and memory of an implementation.

    Args:
        seconds: Wall time.
        memory: Peak resident memory, MiB.
        values: The metrics.
    """

    seconds: float
    memory: float
    values: dict[str, float]


def measure(name: str, count: int, options: argparse.Namespace) -> Measurement | None:
    """Return the measurement of one implementation in a process of limited memory; None if that is not enough.

    A process without enough memory may hang, since its threads cannot start, so it has a timeout.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            future = pool.submit(_measure_here, name, count, options.width, options.k, options.most_gib)
            return future.result(options.most_seconds)
        except (MemoryError, TimeoutError, BrokenProcessPool):
            for child in multiprocessing.active_children():
                child.kill()
            return None


def _measure_here(name: str, count: int, width: int, k: int, most_gib: int) -> Measurement:
    resource.setrlimit(resource.RLIMIT_AS, (most_gib * 2**30, most_gib * 2**30))
    real, generated = samples(count, width)
    IMPLEMENTATIONS[name](np.array(real[:100]), np.array(generated[:100]), k)
    started = time.monotonic()
    values = IMPLEMENTATIONS[name](real, generated, k)
    return Measurement(time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, values)


def draw(found: dict[tuple[str, int], Measurement | None], path: Path) -> None:
    """Draw seconds against the number of pairs, on logarithmic axes."""
    from workers.figures.figure_style import new_figure, png, style

    with style():
        figure = new_figure(6.4, 4.2)
        axes = figure.subplots()
        for name in dict.fromkeys(name for name, _ in found):
            points = [(count**2, item.seconds) for (other, count), item in found.items() if other == name and item]
            axes.loglog(*zip(*points, strict=True), marker="o", label=name)
        axes.set_xlabel("N · M")
        axes.set_ylabel("seconds")
        axes.legend()
        path.write_bytes(png(figure))


def main() -> None:
    """Measure all implementations at each size once and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, nargs="+", default=[10_000], help="samples of each set")
    parser.add_argument("--width", type=int, default=2048, help="features of each")
    parser.add_argument("--k", type=int, default=5, help="which neighbour's distance is the radius")
    parser.add_argument(
        "--only", nargs="*", default=list(IMPLEMENTATIONS), choices=list(IMPLEMENTATIONS), help="what to measure"
    )
    parser.add_argument("--most-gib", type=int, default=20, help="address space of each process")
    parser.add_argument("--most-seconds", type=float, default=600, help="how long to wait for one")
    parser.add_argument("--image", type=Path, help="where seconds against pairs are drawn")
    options = parser.parse_args()
    from benchmarks.post_training import print_table  # it loads torch, whose memory prdc is not to be charged with

    found: dict[tuple[str, int], Measurement | None] = {}
    for count in options.samples:
        for name in options.only:
            found[name, count] = measure(name, count, options)
            print(name, count, found[name, count], flush=True)
    names = ("density", "coverage", "precision", "recall")
    print_table(
        ["", "N = M", "seconds", "most memory, MiB", *names], (_row(*key, item, names) for key, item in found.items())
    )
    for count in options.samples:
        ours = found.get(("faceter", count))
        for other in ("prdc", "products"):
            theirs = found.get((other, count))
            if ours and theirs:
                print(f"N = M = {count:,}: faceter takes {ours.seconds / theirs.seconds:.2f} times as long as {other}")
    if options.image is not None:
        draw(found, options.image)


def _row(name: str, count: int, item: Measurement | None, metrics: Sequence[str]) -> list[str]:
    if item is None:
        return [name, f"{count:,}", "not enough memory, or time", "", *("" for _ in metrics)]
    values = (f"{item.values[metric]:.6f}" if item.values else "" for metric in metrics)
    return [name, f"{count:,}", f"{item.seconds:.1f}", f"{item.memory:.0f}", *values]


if __name__ == "__main__":
    main()

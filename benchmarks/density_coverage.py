"""Density and coverage against the authors' package `prdc`, and against the matrix products they cannot do without.

All in one run, each in a process of its own, so that memory is its own too:

    python -m benchmarks.density_coverage --samples 10000 --width 2048
    python -m benchmarks.density_coverage --samples 50000 --width 2048 --only faceter products
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

_BLOCK = 1000


def samples(count: int, width: int) -> tuple[Rows, Rows]:
    """Return real and generated samples of slightly different normal distributions, float32 [count, width], in files.

    So they lie in an evaluation's job, too.
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
    from workers.metrics.comparison import compare

    return compare(real, generated, [k]).values()[0]


def by_prdc(real: Rows, generated: Rows, k: int) -> dict[str, float]:
    from prdc import compute_prdc

    found: dict[str, float] = compute_prdc(np.array(real), np.array(generated), k)
    return found


def products(real: Rows, generated: Rows, k: int) -> dict[str, float]:
    """Do all matrix products that distances take, in float32: half of those within each set, and all between."""
    import torch

    step = 1024
    x, y = torch.from_numpy(np.array(real)), torch.from_numpy(np.array(generated))
    for left, right in ((x, x), (y, y), (x, y)):
        for row in range(0, len(left), step):
            for column in range(row if left is right else 0, len(right), step):
                torch.mm(left[row : row + step], right[column : column + step].T)
    return {}


WAYS: dict[str, Callable[[Rows, Rows, int], dict[str, float]]] = {
    "faceter": by_faceter,
    "prdc": by_prdc,
    "products": products,
}


def measured(name: str, options: argparse.Namespace) -> tuple[float, float, dict[str, float]]:
    """Return seconds, the most memory in MiB and the values of one way, in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, name, options.samples, options.width, options.k).result()


def _measure(name: str, count: int, width: int, k: int) -> tuple[float, float, dict[str, float]]:
    real, generated = samples(count, width)
    WAYS[name](np.array(real[:100]), np.array(generated[:100]), k)
    began = time.monotonic()
    values = WAYS[name](real, generated, k)
    return time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, values


def main() -> None:
    """Measure all ways once and print what each took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000, help="samples of each set")
    parser.add_argument("--width", type=int, default=2048, help="features of each")
    parser.add_argument("--k", type=int, default=5, help="which neighbour's distance is the radius")
    parser.add_argument("--only", nargs="*", default=list(WAYS), choices=list(WAYS), help="what to measure")
    options = parser.parse_args()
    from benchmarks.post_training import print_table  # it loads torch, whose memory prdc is not to be charged with

    found = {name: measured(name, options) for name in options.only}
    names = ("density", "coverage", "precision", "recall")
    print_table(
        ["", "seconds", "most memory, MiB", *names],
        (
            [name, f"{seconds:.1f}", f"{memory:.0f}", *(f"{values[key]:.6f}" if values else "" for key in names)]
            for name, (seconds, memory, values) in found.items()
        ),
    )
    if "faceter" in found:
        for other in ("prdc", "products"):
            if other in found:
                print(f"\nfaceter takes {found['faceter'][0] / found[other][0]:.2f} times as long as {other}")


if __name__ == "__main__":
    main()

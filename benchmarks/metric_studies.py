"""The toy studies of the papers on density and coverage: their curves and their figure for the documentation.

    python -m benchmarks.metric_studies --image docs/images/metric-studies.png

`tests/workers/evaluation/test_studies.py` tests their results on fewer samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from workers.evaluation.comparison import compare
from workers.evaluation.density_coverage import expected_coverage
from workers.figures.figure_style import COLOURS, FAINT, new_figure, png, style

Floats = NDArray[np.float64]
Sets = tuple[Floats, Floats]

WIDTH = 64
K = 5
MODES = 10
_APART = 12.0
_OUTLIER = 3.0


@dataclass(frozen=True)
class Curve:
    """Metrics along the parameter of a study.

    Args:
        at: Values of the parameter that is varied, [P].
        values: By metric, [P].
    """

    at: list[float]
    values: dict[str, list[float]]


def evaluate_study(at: Sequence[float], sets: Callable[[float], Sets], k: int = K) -> Curve:
    """Return every metric at each point.

    Args:
        at: The points.
        sets: Returns the real and the generated samples at a point.
        k: Of the balls.
    """
    found = [compare(*sets(point), [k]).values()[0] for point in at]
    return Curve(list(at), {name: [values[name] for values in found] for name in found[0]})


def shifted(count: int, seed: int = 0, outlier: str | None = None) -> Callable[[float], Sets]:
    """Two normal distributions, the generated one moved by μ in every direction (Naeem et al., section 4.1.1).

    Args:
        count: N and M.
        seed: Of the samples.
        outlier: ``real`` or ``generated`` gives that set one sample at 3 in every direction.
    """
    rng = np.random.default_rng(seed)
    real, noise = rng.normal(size=(2, count, WIDTH))
    if outlier == "real":
        real[0] = _OUTLIER

    def sets(shift: float) -> Sets:
        generated = noise + shift
        if outlier == "generated":
            generated[0] = _OUTLIER
        return real, generated

    return sets


def modes_dropped(count: int, seed: int = 0, *, in_turn: bool = False) -> Callable[[float], Sets]:
    """Ten normal distributions far apart; a share of the generated samples of nine goes to the tenth instead (4.1.2).

    Args:
        count: N and M.
        seed: Of the samples.
        in_turn: Whether the nine lose all their samples one after the other. If not they lose them together; then few
            are left in each, far from each other, and so their balls are wide.
    """
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(MODES, WIDTH))
    centres *= _APART / np.linalg.norm(centres, axis=1, keepdims=True)
    mode = np.arange(count) % MODES
    place = (mode - 0.5) / (MODES - 1) if in_turn else rng.permutation(count) / count
    real, noise = rng.normal(size=(2, count, WIDTH))

    def sets(share: float) -> Sets:
        return real + centres[mode], noise + centres[np.where(place < share, 0, mode)]

    return sets


def replaced(count: int, seed: int = 0) -> Callable[[float], Sets]:
    """Real samples with a few outliers; of the generated ones a share is replaced by bad samples (Salvy et al.).

    Bad samples lie where no real sample is but an outlier here and there, whose ball is wide enough to hold them.

    Args:
        count: N and M.
        seed: Of the samples.
    """
    rng = np.random.default_rng(seed)
    real, good, bad = rng.normal(size=(3, count, 2))
    outliers = count // 50
    for sample in (real, good):
        sample[:outliers] *= 10
    bad *= 6 / np.linalg.norm(bad, axis=1, keepdims=True)
    order = rng.permutation(count)

    def sets(share: float) -> Sets:
        generated = good.copy()
        chosen = order[: round(share * count)]
        generated[chosen] = bad[chosen]
        return real, generated

    return sets


def deviation_from_line(curve: Curve, metric: str) -> float:
    """Return the largest deviation of a metric from the line from its first value to 0."""
    values = np.array(curve.values[metric]) / curve.values[metric][0]
    return float(np.abs(values - (1 - np.array(curve.at))).max())


def main() -> None:
    """Evaluate all studies and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="N and M")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image", type=Path, default=Path("metric-studies.png"), help="where the figure is written")
    options = parser.parse_args()
    shifts, four = np.linspace(-1, 1, 9).tolist(), ("density", "coverage", "precision", "recall")
    with style():
        figure = new_figure(11.0, 6.6)
        panels = figure.subplots(2, 3)
        for axes, outlier, title in zip(
            panels[0],
            (None, "real", "generated"),
            ("no outlier", "a real outlier at +3", "a generated outlier at +3"),
            strict=True,
        ):
            curve = evaluate_study(shifts, shifted(options.count, options.seed, outlier))
            _draw(axes, curve, four, f"Shift, {title}", "shift μ of the generated samples")
        shares = np.linspace(0, 1, 11).tolist()
        dropped = evaluate_study(shares, modes_dropped(options.count, options.seed))
        _draw(panels[1, 0], dropped, four, "Nine of ten modes dropped together", "share of their samples that is gone")
        panels[1, 0].axline((0, 1), (1, 1 / MODES), color=FAINT, linestyle=":")
        curve = evaluate_study(shares, replaced(options.count, options.seed))
        for axes, names in (
            (panels[1, 1], ("density", "clipped_density")),
            (panels[1, 2], ("coverage", "clipped_coverage")),
        ):
            _draw(axes, curve, names, "Good samples replaced by bad ones", "share of bad samples")
            axes.axline((0, 1), (1, 0), color=FAINT, linestyle=":")
        options.image.parent.mkdir(parents=True, exist_ok=True)
        options.image.write_bytes(png(figure))
    expected = expected_coverage(options.count, options.count, K)
    print(f"N = M = {options.count}, k = {K}; expected coverage {expected:.4f}")
    for name in ("density", "clipped_density", "coverage", "clipped_coverage"):
        print(f"{name}: at most {100 * deviation_from_line(curve, name):.1f} % off the line from its first value to 0")


def _draw(axes: Axes, curve: Curve, names: Sequence[str], title: str, label: str) -> None:
    for index, name in enumerate(names):
        axes.plot(curve.at, curve.values[name], color=COLOURS[index], marker="o", markersize=3, label=name)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel(label)
    axes.set_ylim(bottom=-0.03)
    axes.legend(fontsize=7)


if __name__ == "__main__":
    main()

"""The image of a tuning run: what is in it, and that equal runs make equal files."""

import math
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from faceter.contracts.quantizations import CurvePoint
from tests.workers.figures.images import opened, where
from workers.figures.curves import curves_png
from workers.figures.figure_style import COLOURS

RED = "#c00000"


def point(step: int, phase: str = "tuning", **values: float) -> CurvePoint:
    """Return a point; values but agreement and accuracy are losses."""
    shares = {name: values.pop(name) for name in ("agreement", "accuracy") if name in values}
    return CurvePoint(step=step, seconds=step / 4, phase=phase, losses=values, **shares)


def run_of(steps: int = 40) -> list[CurvePoint]:
    """Return two phases, of which the second has shares."""
    first = [point(10 * i, "synthesis", norms=8 * 0.9**i) for i in range(1, steps)]
    start = first[-1].step
    return [
        *first,
        *(point(start + 10 * i, kl=0.2 * 0.9**i, agreement=0.9 - 0.3 * 0.9**i, accuracy=0.5) for i in range(1, steps)),
    ]


def test_equal_points_make_equal_files_whatever_the_hosts_own_settings() -> None:
    made = curves_png(run_of(), "a run")
    before = dict(mpl.rcParams)
    with mpl.rc_context({"lines.linewidth": 9, "axes.facecolor": "black", "font.size": 30}):
        assert curves_png(run_of(), "a run") == made
    assert dict(mpl.rcParams) == before
    assert curves_png(run_of(), "another") != made
    assert opened(made).shape[1] == 960


def test_it_shows_losses_falling_and_agreement_rising() -> None:
    image = opened(curves_png(run_of()))
    assert image[0, 0].tolist() == image[-1, -1].tolist() == [255, 255, 255]
    middle = len(image) // 2
    for colour, upper, rises in ((COLOURS[0], True, False), (COLOURS[1], True, False), (COLOURS[0], False, True)):
        found = where(image[:, :780], colour)
        found = found[(found[:, 0] < middle) == upper]
        left, right = found[found[:, 1].argmin()], found[found[:, 1].argmax()]
        assert right[1] - left[1] > 150
        assert (right[0] < left[0]) == rises, "rows count downwards"


def test_without_shares_there_is_one_panel() -> None:
    losses = [point(i, kl=1 / i) for i in range(1, 20)]
    alone, both = opened(curves_png(losses)), opened(curves_png([*losses, point(20, agreement=0.5)]))
    assert len(both) > 1.4 * len(alone)


def test_phases_without_room_for_their_names_go_to_a_legend() -> None:
    roomy = [point(i, "synthesis" if i < 50 else "tuning", kl=1.0) for i in range(1, 101)]
    crowded = [point(i, ("generator", "network")[i % 2], kl=1.0) for i in range(1, 101)]
    assert len(opened(curves_png(crowded))) == len(opened(curves_png(roomy)))
    tints = ["#e6eef8", "#fbeee2"]
    assert all(len(where(opened(curves_png(crowded)), tint)) for tint in tints)
    assert not any(len(where(opened(curves_png(roomy)), tint)) for tint in tints)


def test_a_loss_below_zero_is_drawn_too() -> None:
    rising = [point(i, generator=-1.0 + i / 50) for i in range(101)]
    found = where(opened(curves_png(rising))[:, :780], COLOURS[0])
    assert np.ptp(found[:, 0]) > 200, "from below 0 to above it"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_marked(bad: float) -> None:
    good = [point(i, kl=1 / i) for i in range(1, 20)]
    assert not len(where(opened(curves_png(good)), RED))
    assert len(where(opened(curves_png([*good, point(20, kl=bad)])), RED)) > 50


@pytest.mark.parametrize(
    "points",
    [[], [point(0)], [point(5, kl=0.0)], [point(5, kl=2.0, agreement=1.0)], [point(3, kl=-1.0)]],
    ids=["none", "no losses", "zero", "one", "negative"],
)
def test_hardly_anything_is_drawn_without_complaint(points: list[CurvePoint]) -> None:
    assert opened(curves_png(points)).min() < 200


@pytest.mark.parametrize("words", ["$x^", "50 % of $5 & _more_", "量子化", "a\\b{c"])
def test_a_users_words_are_neither_formulas_nor_warnings(words: str) -> None:
    points = [point(i, words, **{words: 1.0 / i}) for i in range(1, 20)]
    opened(curves_png(points, words))


def test_pyplot_and_its_global_state_stay_out() -> None:
    code = (
        "import sys; from workers.figures import contact_sheet, curves, trade_off; curves.curves_png([]); "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

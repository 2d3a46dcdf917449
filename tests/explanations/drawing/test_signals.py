"""Drawings of units on signals: shading, strip, lines and scales."""

import numpy as np
import pytest
from numpy.typing import NDArray

from faceter.explanations.drawing.canvas import FORMULA_COLOUR
from faceter.explanations.drawing.signal_lines import MAX_CHANNELS
from faceter.explanations.drawing.signals import NOT_THE_FORMULA, UNIT_SHADE, SignalSample, draw_unit_on_signals
from tests.explanations.drawing.samples import Mask, marks, wave
from tests.workers.figures.images import Pixels, opened, where

PLOT = 74, 944
"""First column of a signal's plot, and the one after its last."""


def signal_page(signal: NDArray[np.float32], unit: Mask | None = None, formula: Mask | None = None) -> Pixels:
    """Return the page of one signal without title, subtitle and legend."""
    none = marks(signal.shape[1])
    one = SignalSample(signal, "", none if unit is None else unit, none if formula is None else formula)
    return opened(draw_unit_on_signals("", "", [one], ""))[16 + 20 :]


def columns_of(page: Pixels, colour: str) -> list[int]:
    return sorted({int(column) for column in where(page, colour)[:, 1]})


def test_shading_and_strip_of_a_signal() -> None:
    page = signal_page(wave(), marks(435, (100, 150)), marks(435, (10, 20), (140, 200)))
    left, right = PLOT
    assert columns_of(page, UNIT_SHADE) == list(range(left + 200, left + 300)), "870 columns, 2 for a moment"
    holds = [*range(left + 20, left + 40), *range(left + 280, left + 400)]
    assert columns_of(page, FORMULA_COLOUR) == holds
    plain = signal_page(wave())
    changed = np.argwhere((page != plain).any(axis=2))
    assert set(changed[:, 1]) == {*range(left + 200, left + 300), *holds}
    strip = where(page, FORMULA_COLOUR)[:, 0]
    assert strip.min() > where(page, UNIT_SHADE)[:, 0].max(), "below the line"
    assert np.ptp(strip) == 8
    others = [column for column in range(left, right) if column not in holds]
    assert columns_of(page[strip.min() : strip.max() + 1], NOT_THE_FORMULA) == others


def test_a_single_moment_of_many_is_visible() -> None:
    page = signal_page(wave(100_000), marks(100_000, (50_000, 50_001)), marks(100_000, (99_999, 100_000)))
    assert columns_of(page, UNIT_SHADE) == [PLOT[0] + 435]
    assert columns_of(page, FORMULA_COLOUR) == [PLOT[1] - 1]


def drawn_rows(page: Pixels, first: int, last: int) -> NDArray[np.int64]:
    """Return the rows in which the line is at its darkest, in some columns of the plot."""
    dark = (page[:, PLOT[0] + first : PLOT[0] + last].astype(int) - [0x1F, 0x3B, 0x57] == 0).all(axis=2)
    return np.argwhere(dark)[:, 0]


def test_the_line_follows_the_signal() -> None:
    step = np.zeros((1, 200), np.float32)
    step[0, 100:] = 1
    page = signal_page(step)
    low, high = drawn_rows(page, 100, 300), drawn_rows(page, 570, 770)
    assert low.min() > high.max() + 50
    long = np.repeat(step, 500, axis=1)
    assert abs(drawn_rows(signal_page(long), 100, 300).mean() - low.mean()) < 1
    assert abs(drawn_rows(signal_page(long), 570, 770).mean() - high.mean()) < 1


def test_a_spike_of_a_long_signal_is_visible() -> None:
    signal = np.zeros((1, 200_000), np.float32)
    signal[0, 120_001] = 1
    page = signal_page(signal)
    assert np.ptp(np.argwhere((page[:, PLOT[0] + 300 : PLOT[0] + 800] < 200).all(axis=2))[:, 0]) > 60


def test_signals_of_a_page_share_the_scale_of_each_channel() -> None:
    none = marks(435)
    loud, quiet = (SignalSample(wave(size=size), "", none, none) for size in (1.0, 0.1))
    page = opened(draw_unit_on_signals("", "", [loud, quiet], ""))
    rows = np.unique(drawn_rows(page, 0, 870))
    gap = int(np.argmax(np.diff(rows)))
    assert np.ptp(rows[: gap + 1]) > 5 * np.ptp(rows[gap + 1 :])


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 12])
def test_at_most_four_channels_are_drawn_below_each_other(channels: int) -> None:
    few = opened(draw_unit_on_signals("", "", [SignalSample(wave(channels=1), "", marks(435), marks(435))], ""))
    page = opened(draw_unit_on_signals("", "", [SignalSample(wave(channels=channels), "", marks(435), marks(435))], ""))
    drawn = min(channels, MAX_CHANNELS)
    note = 20 if channels > MAX_CHANNELS else 0
    assert len(page) - len(few) == note + (56 * drawn - 92 if channels > 1 else 0)


def test_samples_may_have_different_channels_and_lengths() -> None:
    shapes = [(1, 30), (6, 900), (2, 1)]
    signals = [SignalSample(wave(n, c), "é", marks(n), marks(n, (0, n))) for c, n in shapes]
    assert columns_of(opened(draw_unit_on_signals("a", "b", signals, "c"))[110:], FORMULA_COLOUR) == list(range(*PLOT))


@pytest.mark.parametrize("value", [0.0, 3.5, -1e30])
@pytest.mark.parametrize("length", [1, 2, 5000])
def test_constant_signals_are_drawn_in_the_middle(value: float, length: int) -> None:
    rows = drawn_rows(signal_page(np.full((1, length), value, np.float32)), 0, 870)
    assert len(rows)
    assert rows.mean() == pytest.approx(6 + 18 + 46, abs=1)


@pytest.mark.parametrize("length", [40, 9000])
def test_values_that_are_not_finite_are_gaps(length: int) -> None:
    signal = wave(length)
    signal[0, length // 4 : length // 2] = np.nan
    signal[0, length // 2 : 3 * length // 4] = np.inf
    page = signal_page(signal)
    assert len(drawn_rows(page, 10, 200))
    assert not len(drawn_rows(page, 240, 630))
    signal_page(np.full((2, length), np.nan, np.float32))


@pytest.mark.parametrize("shape", [(5,), (0, 5), (1, 0), (1, 2, 3)])
def test_a_wrong_signal_is_refused(shape: tuple[int, ...]) -> None:
    wrong = SignalSample(np.zeros(shape, np.float32), "", marks(5), marks(5))
    with pytest.raises(ValueError, match=r"A signal must be \[channels, length\]"):
        draw_unit_on_signals("", "", [wrong], "")


@pytest.mark.parametrize("shape", [(0,), (1, 5)])
def test_a_wrong_mask_of_a_signal_is_refused(shape: tuple[int, ...]) -> None:
    wrong = SignalSample(wave(5), "", np.zeros(shape, np.bool_), marks(5))
    with pytest.raises(ValueError, match=r"A mask of a signal must be \[length\]"):
        draw_unit_on_signals("", "", [wrong], "")

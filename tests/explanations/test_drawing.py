"""Drawings of units: what is marked is marked, what is not is as it was, and whatever comes is drawn."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from faceter.explanations.drawing import (
    FORMULA_COLOUR,
    MOST_CHANNELS,
    NOT_THE_FORMULA,
    OUTLINE,
    UNIT_COLOUR,
    UNIT_SHADE,
    ImageSample,
    SignalSample,
    unit_image,
    unit_signals,
)
from faceter.vision.fonts import font_file
from tests.workers.figures.images import Pixels, opened, where

Mask = NDArray[np.bool_]
PLOT = 74, 944
"""First column of a signal's plot, and the one after its last."""


def mask(height: int = 6, width: int = 8, *places: tuple[slice, slice]) -> Mask:
    found = np.zeros((height, width), np.bool_)
    for place in places:
        found[place] = True
    return found


def noise(height: int = 180, width: int = 240) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(60, 256, (height, width, 3), np.uint8))


def sample(image: Image.Image | None = None, unit: Mask | None = None, formula: Mask | None = None) -> ImageSample:
    middle = mask(6, 8, (slice(2, 4), slice(2, 6)))
    return ImageSample(
        image=noise() if image is None else image,
        caption="17 · street.jpg · day",
        unit=middle if unit is None else unit,
        formula=middle if formula is None else formula,
    )


def halves(page: Pixels, height: int = 180, width: int = 240) -> tuple[Pixels, Pixels]:
    """Return the two images of a page of one sample without title and subtitle, with their margins."""
    upper, cell = 16 + 20, max(width + 2 * OUTLINE, 136)
    first, second = (
        page[upper : upper + height + 2 * OUTLINE, left : left + width + 2 * OUTLINE] for left in (16, 16 + cell + 4)
    )
    return first, second


def enlarged(found: Mask, height: int = 180, width: int = 240) -> Mask:
    rows, columns = (
        np.floor((np.arange(size) + 0.5) * old / size).astype(int)
        for size, old in zip((height, width), found.shape, strict=True)
    )
    large: Mask = found[rows][:, columns]
    return large


def is_colour(image: Pixels, colour: str) -> Mask:
    found = np.zeros(image.shape[:2], np.bool_)
    found[tuple(where(image, colour).T)] = True
    return found


def ring(inside: Mask) -> Mask:
    """Return, slowly, what lies within 2 pixels of a region but not in it, with a margin of 2 pixels."""
    grown = np.zeros((inside.shape[0] + 2 * OUTLINE, inside.shape[1] + 2 * OUTLINE), np.bool_)
    for row, column in np.argwhere(inside):
        grown[row : row + 2 * OUTLINE + 1, column : column + 2 * OUTLINE + 1] = True
    return grown & ~np.pad(inside, OUTLINE)


MASKS = {
    "a rectangle": mask(6, 8, (slice(2, 4), slice(2, 6))),
    "at the corner": mask(6, 8, (slice(0, 2), slice(0, 3))),
    "two": mask(6, 8, (slice(0, 1), slice(5, 7)), (slice(3, 6), slice(1, 2))),
    "sizes that do not divide": mask(7, 11, (slice(2, 5), slice(3, 9))),
    "finer than the image": mask(500, 700, (slice(100, 400), slice(50, 60))),
    "everywhere": np.ones((6, 8), np.bool_),
    "nowhere": np.zeros((6, 8), np.bool_),
    "one pixel": np.ones((1, 1), np.bool_),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_region_is_as_it_was_and_outlined_and_the_rest_is_dark_and_gray(name: str) -> None:
    other = mask(6, 8, (slice(4, 6), slice(0, 8)))
    image = noise()
    pixels = np.pad(np.asarray(image), ((OUTLINE, OUTLINE), (OUTLINE, OUTLINE), (0, 0)), constant_values=255)
    page = opened(unit_image("", "", [sample(image, MASKS[name], other)]))
    for half, marks, colour in zip(halves(page), (MASKS[name], other), (UNIT_COLOUR, FORMULA_COLOUR), strict=True):
        inside = enlarged(marks)
        outline = ring(inside)
        region = np.pad(inside, OUTLINE)
        np.testing.assert_array_equal(half[region], pixels[region])
        np.testing.assert_array_equal(is_colour(half, colour) & ~region, outline)
        rest = np.pad(~inside, OUTLINE) & ~outline
        assert (np.ptp(half[rest], axis=1) == 0).all(), "gray"
        assert half[rest].max(initial=0) <= 140
        margin = ~(region | outline | rest)
        assert (half[margin] == 255).all()


def test_masks_change_nothing_outside_of_their_image() -> None:
    left, right = (slice(0, 6), slice(0, 4)), (slice(0, 6), slice(4, 8))
    one, two = (opened(unit_image("t", "s", [sample(unit=mask(6, 8, place))])) for place in (left, right))
    changed = np.argwhere((one != two).any(axis=2))
    assert changed[:, 1].min() >= 16
    assert changed[:, 1].max() < 16 + 244
    assert np.ptp(changed[:, 0]) < 184


def test_two_or_three_samples_are_in_a_row() -> None:
    wide, high = noise(180, 240), noise(240, 150)
    sizes = {count: opened(unit_image("", "", [sample(wide)] * count)).shape[:2] for count in (1, 2, 3, 4)}
    assert [sizes[count][1] for count in sizes] == [540, 1040, 1040, 1040]
    assert sizes[1][0] == sizes[2][0] < sizes[3][0] == sizes[4][0]
    three = opened(unit_image("", "", [sample(high)] * 3))
    assert three.shape[0] < 330 < 960 < three.shape[1]


def test_each_row_is_as_high_as_its_images() -> None:
    images = [noise(60, 240), noise(60, 240), noise(240, 240), noise(60, 240)]
    page = unit_image("", "", [sample(image) for image in images])
    assert len(opened(page)) == 2 * 16 + 20 + (64 + 18) + 14 + (244 + 18)


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((1, 1), (240, 240)),
        ((32, 32), (224, 224)),
        ((32, 20), (224, 140)),
        ((720, 960), (180, 240)),
        ((240, 240), (240, 240)),
        ((241, 239), (240, 238)),
        ((1, 3000), (16, 240)),
        ((3000, 1), (240, 16)),
        ((2, 200), (16, 200)),
    ],
)
def test_images_of_any_size_fit(size: tuple[int, int], drawn: tuple[int, int]) -> None:
    everywhere = np.ones((1, 1), np.bool_)
    page = opened(unit_image("", "", [sample(noise(*size), everywhere, everywhere)]))
    for half, colour in zip(halves(page, *drawn), (UNIT_COLOUR, FORMULA_COLOUR), strict=True):
        frame = np.ones(half.shape[:2], np.bool_)
        frame[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE] = False
        assert is_colour(half, colour)[frame].all()
        assert not is_colour(half, colour)[~frame].any()


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    image = noise(20, 30)
    first, _ = halves(opened(unit_image("", "", [sample(image, np.ones((5, 5), np.bool_))])), 160, 240)
    large = np.asarray(image).repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(first[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE], large)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_images_of_any_mode_are_drawn(mode: str) -> None:
    opened(unit_image("", "", [sample(noise().convert(mode))]))


WORDS = {
    "long": "(car OR road) AND NOT dusk " * 300,
    "one long word": "x" * 5000,
    "two lines": "two\nlines\tand\x00more",
    "another script": "量子 · тень · ظل · 🚗",
    "half a pair": "a\ud800b",
    "formula": "$x^",
    "none": "",
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_any_words_stay_on_the_page(words: str) -> None:
    marked = ImageSample(noise(), words, mask(), mask())
    signal = SignalSample(np.zeros((1, 50), np.float32), words, np.zeros(50, np.bool_), np.zeros(50, np.bool_))
    for page in (
        opened(unit_image(words, words, [marked, marked])),
        opened(unit_signals(words, words, [signal], words)),
    ):
        assert (page[:, :14] == 255).all()
        assert (page[:, -14:] == 255).all()
        assert len(page) < 600


def test_a_long_title_is_wrapped_and_cut_and_a_caption_stays_under_its_images() -> None:
    short, longer, longest = (len(opened(unit_image("car OR road " * times, "", [sample()]))) for times in (1, 6, 600))
    assert longer == short + 23
    assert longest == short + 46
    wordy = ImageSample(noise(), "a very long caption " * 9, mask(), mask())
    page = opened(unit_image("", "", [wordy, sample()]))
    gap = slice(16 + 2 * 244 + 4, 16 + 2 * 244 + 4 + 24)
    assert (page[16 + 20 + 184 :, gap] == 255).all()


def test_all_of_a_title_is_there_when_it_fits() -> None:
    page = opened(unit_image("car", "", []))
    width = ImageFont.truetype(font_file(bold=True), 17).getlength("car")
    dark = np.argwhere((page[:35] < 128).any(axis=2))
    assert abs(np.ptp(dark[:, 1]) - width) < 4


@pytest.mark.parametrize("page", [unit_image("unit 3", "car", []), unit_signals("unit 3", "car", [], "QRS")])
def test_no_sample_is_said(page: bytes) -> None:
    image = opened(page)
    assert (image[60:] < 200).any()
    for colour in (UNIT_COLOUR, UNIT_SHADE, FORMULA_COLOUR):
        assert not len(where(image, colour))


@pytest.mark.parametrize("wrong", [np.ones(4, np.bool_), np.ones((0, 3), np.bool_), np.ones((2, 2, 2), np.bool_)])
def test_what_is_no_mask_of_a_image_is_refused(wrong: Mask) -> None:
    with pytest.raises(ValueError, match=r"A mask of an image must be \[h, w\]"):
        unit_image("", "", [sample(unit=wrong)])


def wave(length: int = 435, channels: int = 1, size: float = 1.0) -> NDArray[np.float32]:
    time = np.linspace(0, 30, length)
    return (size * np.stack([np.sin(time + channel) for channel in range(channels)])).astype(np.float32)


def marks(length: int, *spans: tuple[int, int]) -> Mask:
    found = np.zeros(length, np.bool_)
    for start, end in spans:
        found[start:end] = True
    return found


def signal_page(signal: NDArray[np.float32], unit: Mask | None = None, formula: Mask | None = None) -> Pixels:
    """Return the page of one signal without title, subtitle and legend."""
    none = marks(signal.shape[1])
    one = SignalSample(signal, "", none if unit is None else unit, none if formula is None else formula)
    return opened(unit_signals("", "", [one], ""))[16 + 20 :]


def columns_of(page: Pixels, colour: str) -> list[int]:
    return sorted({int(column) for column in where(page, colour)[:, 1]})


def test_a_signal_is_shaded_where_the_unit_fires_and_its_strip_coloured_where_the_formula_holds() -> None:
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


def test_a_single_moment_of_many_is_seen() -> None:
    page = signal_page(wave(100_000), marks(100_000, (50_000, 50_001)), marks(100_000, (99_999, 100_000)))
    assert columns_of(page, UNIT_SHADE) == [PLOT[0] + 435]
    assert columns_of(page, FORMULA_COLOUR) == [PLOT[1] - 1]


def drawn_rows(page: Pixels, first: int, last: int) -> NDArray[np.int64]:
    """Return the rows in which the line is at its darkest, in some columns of the plot."""
    dark = (page[:, PLOT[0] + first : PLOT[0] + last].astype(int) - [0x1F, 0x3B, 0x57] == 0).all(axis=2)
    return np.argwhere(dark)[:, 0]


def test_the_line_goes_where_the_signal_goes() -> None:
    step = np.zeros((1, 200), np.float32)
    step[0, 100:] = 1
    page = signal_page(step)
    low, high = drawn_rows(page, 100, 300), drawn_rows(page, 570, 770)
    assert low.min() > high.max() + 50
    long = np.repeat(step, 500, axis=1)
    assert abs(drawn_rows(signal_page(long), 100, 300).mean() - low.mean()) < 1
    assert abs(drawn_rows(signal_page(long), 570, 770).mean() - high.mean()) < 1


def test_a_spike_of_a_long_signal_is_seen() -> None:
    signal = np.zeros((1, 200_000), np.float32)
    signal[0, 120_001] = 1
    page = signal_page(signal)
    assert np.ptp(np.argwhere((page[:, PLOT[0] + 300 : PLOT[0] + 800] < 200).all(axis=2))[:, 0]) > 60


def test_signals_of_a_page_share_the_scale_of_each_channel() -> None:
    none = marks(435)
    loud, quiet = (SignalSample(wave(size=size), "", none, none) for size in (1.0, 0.1))
    page = opened(unit_signals("", "", [loud, quiet], ""))
    rows = np.unique(drawn_rows(page, 0, 870))
    gap = int(np.argmax(np.diff(rows)))
    assert np.ptp(rows[: gap + 1]) > 5 * np.ptp(rows[gap + 1 :])


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 12])
def test_at_most_four_channels_are_drawn_below_each_other(channels: int) -> None:
    few = opened(unit_signals("", "", [SignalSample(wave(channels=1), "", marks(435), marks(435))], ""))
    page = opened(unit_signals("", "", [SignalSample(wave(channels=channels), "", marks(435), marks(435))], ""))
    drawn = min(channels, MOST_CHANNELS)
    note = 20 if channels > MOST_CHANNELS else 0
    assert len(page) - len(few) == note + (56 * drawn - 92 if channels > 1 else 0)


def test_samples_may_have_different_channels_and_lengths() -> None:
    shapes = [(1, 30), (6, 900), (2, 1)]
    signals = [SignalSample(wave(n, c), "é", marks(n), marks(n, (0, n))) for c, n in shapes]
    assert columns_of(opened(unit_signals("a", "b", signals, "c"))[110:], FORMULA_COLOUR) == list(range(*PLOT))


@pytest.mark.parametrize("value", [0.0, 3.5, -1e30])
@pytest.mark.parametrize("length", [1, 2, 5000])
def test_constant_signals_lie_in_the_middle(value: float, length: int) -> None:
    rows = drawn_rows(signal_page(np.full((1, length), value, np.float32)), 0, 870)
    assert len(rows)
    assert rows.mean() == pytest.approx(6 + 18 + 46, abs=1)


@pytest.mark.parametrize("length", [40, 9000])
def test_what_is_not_finite_is_a_gap(length: int) -> None:
    signal = wave(length)
    signal[0, length // 4 : length // 2] = np.nan
    signal[0, length // 2 : 3 * length // 4] = np.inf
    page = signal_page(signal)
    assert len(drawn_rows(page, 10, 200))
    assert not len(drawn_rows(page, 240, 630))
    signal_page(np.full((2, length), np.nan, np.float32))


@pytest.mark.parametrize("shape", [(5,), (0, 5), (1, 0), (1, 2, 3)])
def test_what_is_no_signal_is_refused(shape: tuple[int, ...]) -> None:
    wrong = SignalSample(np.zeros(shape, np.float32), "", marks(5), marks(5))
    with pytest.raises(ValueError, match=r"A signal must be \[channels, length\]"):
        unit_signals("", "", [wrong], "")


@pytest.mark.parametrize("shape", [(0,), (1, 5)])
def test_what_is_no_mask_of_a_signal_is_refused(shape: tuple[int, ...]) -> None:
    wrong = SignalSample(wave(5), "", np.zeros(shape, np.bool_), marks(5))
    with pytest.raises(ValueError, match=r"A mask of a signal must be \[length\]"):
        unit_signals("", "", [wrong], "")


def test_equal_samples_make_equal_files() -> None:
    assert unit_image("t", "s", [sample()] * 3) == unit_image("t", "s", [sample()] * 3)
    assert unit_image("t", "s", [sample()]) != unit_image("t", "s", [sample(unit=mask())])
    one, other = (SignalSample(wave(), "c", marks(435, span), marks(435)) for span in ((3, 40), (3, 41)))
    assert unit_signals("t", "s", [one], "f") == unit_signals("t", "s", [one], "f")
    assert unit_signals("t", "s", [one], "f") != unit_signals("t", "s", [other], "f")


def test_drawing_loads_neither_matplotlib_nor_torch() -> None:
    code = (
        "import sys\n"
        "from faceter.explanations.drawing import unit_image\n"
        "sys.stdout.buffer.write(unit_image('unit 3', 'car', []))\n"
        "assert not {'matplotlib', 'torch', 'workers'} & set(sys.modules)"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert Image.open(io.BytesIO(done.stdout)).width == 540

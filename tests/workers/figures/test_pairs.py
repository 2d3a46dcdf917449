"""Pairs side by side, and images of many sizes on one page: each whole, in its place."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.workers.figures.images import opened, where
from workers.figures.contact_sheet import image_sheet, mixed_sheet
from workers.figures.figure_style import GENERATED
from workers.figures.pairs import pairs_sheet, signal_pairs_sheet

Pixels = NDArray[np.uint8]
NEAREST = "#7fb8d8"


def image(*shape: int) -> Pixels:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)


def enlarged(small: Pixels, times: int) -> Pixels:
    whole = np.broadcast_to(small.transpose(1, 2, 0), (*small.shape[1:], 3))
    return whole.repeat(times, axis=0).repeat(times, axis=1)


def test_the_two_of_a_pair_lie_side_by_side_under_a_note_that_names_them() -> None:
    left, right = [image(3, 8, 8), image(3, 28, 28)], [image(1, 8, 4), image(3, 14, 14)]
    sheet = opened(pairs_sheet(left, right, ["distance 0.5", ""]))
    top = 8 + 18
    assert (sheet[:top] < 128).any(), "the words"
    np.testing.assert_array_equal(sheet[top:, 8:][:112, :112], enlarged(left[0], 14))
    # four wide, in the middle of its place
    np.testing.assert_array_equal(sheet[top:, 8 + 114 + 28 :][:112, :56], enlarged(right[0], 14))
    second = 8 + 226 + 16
    np.testing.assert_array_equal(sheet[top:, second:][:112, :112], enlarged(left[1], 4))
    np.testing.assert_array_equal(sheet[top:, second + 114 :][:112, :112], enlarged(right[1], 8))
    caption = sheet[top + 113 :, 8 : 8 + 226] < 128
    assert caption[:, 80:150].any(), "below the middle of the pair"


def test_a_pair_of_large_images_is_averaged_down_and_at_most_32_are_shown() -> None:
    many = [np.full((3, 168, 336), 90, np.uint8)] * 40
    sheet = pairs_sheet(many, many)
    assert sheet == pairs_sheet(many[:32], many[:32])
    shown = opened(sheet)
    assert shown.shape == (8 + 18 + 8 * (56 + 8), 8 + 4 * (226 + 16), 3)
    assert (shown[26 : 26 + 56, 8 : 8 + 112] == 90).all()


def test_images_of_any_size_and_mode_share_a_page() -> None:
    pixels = image(3, 20, 14)
    colours = Image.fromarray(pixels.transpose(1, 2, 0))
    sheet = opened(
        mixed_sheet([colours, Image.new("L", (300, 100), 90), Image.new("P", (4, 4)), colours.convert("CMYK")])
    )
    np.testing.assert_array_equal(sheet[8 + 6 :, 8 + 21 :][:100, :70], enlarged(pixels, 5))
    flat = sheet[8:, 8 + 120 :][:112, :112]
    np.testing.assert_array_equal(np.argwhere((flat == 90).all(axis=2).all(axis=1)).ravel(), np.arange(37, 37 + 37))


def test_images_of_one_size_make_the_sheet_they_always_made() -> None:
    same = np.stack([image(3, 8, 8), image(3, 8, 8)[:, ::-1]])
    mixed = [Image.fromarray(np.ascontiguousarray(one.transpose(1, 2, 0))) for one in same]
    assert mixed_sheet(mixed, ["a", "b"], "two") == image_sheet(same, ["a", "b"], "two")


def test_equal_input_makes_equal_files() -> None:
    left, right = [image(3, 8, 8)], [image(3, 9, 9)]
    assert pairs_sheet(left, right, ["$a"], "$x^") == pairs_sheet(left, right, ["$a"], "$x^")
    assert pairs_sheet(left, right) != pairs_sheet(right, left)
    one, other = np.random.default_rng(0).normal(size=(2, 2, 2, 50))
    made = signal_pairs_sheet(one, other, ["$a"] * 2, "$x^")
    assert made == signal_pairs_sheet(one, other, ["$a"] * 2, "$x^")
    assert made != signal_pairs_sheet(other, one, ["$a"] * 2, "$x^")


def test_no_pairs_give_a_message() -> None:
    none = np.zeros((0, 1, 50))
    for sheet in (pairs_sheet([], [], [], "a gan"), signal_pairs_sheet(none, none, title="a gan"), mixed_sheet([])):
        assert (opened(sheet) < 200).any()
    assert pairs_sheet([], []) != mixed_sheet([])


def test_what_are_no_pairs_is_refused() -> None:
    good = image(3, 4, 4)
    with pytest.raises(ValueError, match="1 images for the left and 2 for the right"):
        pairs_sheet([good], [good, good])
    refused: list[NDArray[Any]] = [good.astype(np.float32), good[:2], good[0], good[:, :0]]
    for wrong in refused:
        with pytest.raises(ValueError, match="an image must be uint8"):
            pairs_sheet([good], [wrong])
    with pytest.raises(ValueError, match=r"both alike, not \[2, 1, 5\] and \[2, 1, 6\]"):
        signal_pairs_sheet(np.zeros((2, 1, 5)), np.zeros((2, 1, 6)))


def test_signals_of_a_pair_lie_over_each_other_and_equal_ones_are_both_seen() -> None:
    wave = np.sin(np.linspace(0, 20, 200))[None, None]
    for left in (wave, 0.2 * wave):
        sheet = opened(signal_pairs_sheet(left, wave))[60:]
        generated, nearest = where(sheet, GENERATED), where(sheet, NEAREST)
        assert min(len(generated), len(nearest)) > 20
        assert abs(generated[:, 0].mean() - nearest[:, 0].mean()) < 8
        smaller = np.ptp(generated[:, 0]) < 0.5 * np.ptp(nearest[:, 0])
        assert smaller == (left is not wave)


def test_channels_of_pairs_lie_below_each_other() -> None:
    rng = np.random.default_rng(0)
    one, four = (opened(signal_pairs_sheet(*rng.normal(size=(2, 1, channels, 60)))) for channels in (1, 4))
    assert len(four) > len(one)


def test_a_long_title_takes_lines_above_a_narrow_sheet_and_leaves_it_whole() -> None:
    wave = np.sin(np.linspace(0, 20, 200))[None, None]
    short, long = (opened(signal_pairs_sheet(wave, wave, ["a"], title)) for title in ("a gan", "a gan of $10 " * 20))
    more = len(long) - len(short)
    assert more > 30
    np.testing.assert_array_equal(where(long, GENERATED)[-1] - where(short, GENERATED)[-1], [more, 0])
    assert (long[:, -4:] == 255).all()

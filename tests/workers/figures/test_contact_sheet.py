"""Contact sheets: every image is there, whole, in its place; signals are drawn to one scale."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.workers.figures.images import opened, where
from workers.figures.contact_sheet import image_sheet, signal_sheet
from workers.figures.figure_style import COLOURS


def random_images(count: int, channels: int = 3, height: int = 8, width: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, channels, height, width), np.uint8)


def cells(sheet: NDArray[np.uint8], rows: int, columns: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """Return the images of a sheet without captions and title: 8 pixels apart, and from the edge."""
    height, width = size
    return [
        sheet[8 + r * (height + 8) :, 8 + c * (width + 8) :][:height, :width]
        for r in range(rows)
        for c in range(columns)
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_enlarged_by_whole_pixels_in_rows(channels: int) -> None:
    images = random_images(10, channels)
    sheet = opened(image_sheet(images))
    found = cells(sheet, 3, 4, (112, 112))
    for image, cell in zip(images, found, strict=False):
        small = np.broadcast_to(image.transpose(1, 2, 0), (8, 8, 3))
        np.testing.assert_array_equal(cell, small.repeat(14, axis=0).repeat(14, axis=1))
    assert all((cell == 255).all() for cell in found[10:])


def test_large_images_are_averaged_down_and_keep_their_proportions() -> None:
    sheet = opened(image_sheet(np.full((1, 3, 336, 672), 90, np.uint8)))
    assert sheet.shape == (8 + 56 + 8, 8 + 112 + 8, 3)
    assert (sheet[8:64, 8:120] == 90).all()


def test_at_most_64_are_shown() -> None:
    images = random_images(70)
    sheet = image_sheet(images)
    assert sheet == image_sheet(images[:64])
    assert opened(sheet).shape == (8 + 8 * 120, 8 + 8 * 120, 3)


def test_captions_and_title_take_their_room_and_leave_the_images_whole() -> None:
    images = random_images(8)
    plain, told = opened(image_sheet(images)), opened(image_sheet(images, ["cat"] * 8, "eight of them"))
    assert len(told) == len(plain) + 2 * 16 + 30
    first = told[38 : 38 + 112, 8 : 8 + 112]
    np.testing.assert_array_equal(first, plain[8 : 8 + 112, 8 : 8 + 112])
    assert (told[38 + 113 : 38 + 128, 8:120] < 128).any(), "the caption"
    assert (told[:37] < 128).any(), "the title"


@pytest.mark.parametrize("caption", ["a very long caption " * 9, "two\nlines", "$x$", "量子", ""])
def test_any_caption_stays_under_its_image(caption: str) -> None:
    told = opened(image_sheet(random_images(2), [caption, ""]))
    gap = told[8 + 112 + 2 :, 8 + 112 + 1 : 8 + 112 + 7]
    assert (gap == 255).all()


def test_a_title_wider_than_the_images_is_not_cut() -> None:
    sheet = opened(image_sheet(random_images(1), title="a title wider than the only image below it"))
    assert sheet.shape[1] > 300
    assert (sheet[:, -6:] == 255).all()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 3, 4, 4), np.float32),
        np.zeros((2, 2, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((0, 3, 4, 4), np.uint8),
    ],
    ids=["float", "two channels", "no batch", "none"],
)
def test_what_are_no_images_is_refused(wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="images must be uint8"):
        image_sheet(wrong)


def test_equal_images_make_equal_files() -> None:
    assert image_sheet(random_images(5), ["a"] * 5, "t") == image_sheet(random_images(5), ["a"] * 5, "t")
    signals = np.random.default_rng(0).normal(size=(5, 2, 50))
    assert signal_sheet(signals, ["a"] * 5, "t") == signal_sheet(signals, ["a"] * 5, "t")


def test_signals_share_one_scale() -> None:
    wave = np.sin(np.linspace(0, 20, 200))
    sheet = opened(signal_sheet(np.stack([wave, 0.1 * wave])[:, None]))
    found = where(sheet, COLOURS[0])
    share = found[:, 1] / sheet.shape[1]
    left, right = found[share < 0.48], found[share > 0.55]
    assert np.ptp(left[:, 0]) > 5 * np.ptp(right[:, 0])


def test_few_channels_lie_over_each_other_and_many_below_each_other() -> None:
    rng = np.random.default_rng(0)
    for channels, apart in ((3, False), (6, True)):
        sheet = opened(signal_sheet(rng.normal(size=(1, channels, 300))))
        rows = [where(sheet, colour)[:, 0].mean() for colour in COLOURS[:channels]]
        assert (min(np.diff(rows)) > 10) == apart


@pytest.mark.parametrize("count", [1, 3, 5, 64, 70])
def test_any_number_of_signals(count: int) -> None:
    sheet = opened(signal_sheet(np.random.default_rng(0).normal(size=(count, 1, 40)), ["$a"] * count, "$"))
    assert sheet.shape[1] > 300 * min(count, 4)


def test_gaps_and_flat_lines_are_drawn() -> None:
    signals = np.zeros((2, 1, 30))
    signals[0, 0, 10:20] = np.nan
    assert len(where(opened(signal_sheet(signals)), COLOURS[0]))
    opened(signal_sheet(np.full((1, 1, 1), np.nan)))


def test_what_are_no_signals_is_refused() -> None:
    for wrong in (np.zeros((3, 4)), np.zeros((0, 1, 5))):
        with pytest.raises(ValueError, match="signals must be"):
            signal_sheet(wrong)

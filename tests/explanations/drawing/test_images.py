"""Drawings of units on images: masked pixels are unchanged, and images of any size and mode are drawn."""

import numpy as np
import pytest

from faceter.explanations.drawing.canvas import FORMULA_COLOUR, UNIT_COLOUR
from faceter.explanations.drawing.images import OUTLINE, draw_unit_on_images
from tests.explanations.drawing.samples import Mask, mask, noise, sample
from tests.workers.figures.images import Pixels, opened, where


def panels(page: Pixels, height: int = 180, width: int = 240) -> tuple[Pixels, Pixels]:
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
    """Return the pixels within `OUTLINE` of a mask but not in it, with a margin of that width."""
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
def test_a_mask_is_unchanged_and_outlined_and_the_rest_is_dark_and_gray(name: str) -> None:
    other = mask(6, 8, (slice(4, 6), slice(0, 8)))
    image = noise()
    pixels = np.pad(np.asarray(image), ((OUTLINE, OUTLINE), (OUTLINE, OUTLINE), (0, 0)), constant_values=255)
    page = opened(draw_unit_on_images("", "", [sample(image, MASKS[name], other)]))
    for panel, marks, colour in zip(panels(page), (MASKS[name], other), (UNIT_COLOUR, FORMULA_COLOUR), strict=True):
        inside = enlarged(marks)
        outline = ring(inside)
        region = np.pad(inside, OUTLINE)
        np.testing.assert_array_equal(panel[region], pixels[region])
        np.testing.assert_array_equal(is_colour(panel, colour) & ~region, outline)
        rest = np.pad(~inside, OUTLINE) & ~outline
        assert (np.ptp(panel[rest], axis=1) == 0).all(), "gray"
        assert panel[rest].max(initial=0) <= 140
        margin = ~(region | outline | rest)
        assert (panel[margin] == 255).all()


def test_a_mask_changes_its_own_panel_only() -> None:
    left, right = (slice(0, 6), slice(0, 4)), (slice(0, 6), slice(4, 8))
    one, two = (opened(draw_unit_on_images("t", "s", [sample(firing=mask(6, 8, place))])) for place in (left, right))
    changed = np.argwhere((one != two).any(axis=2))
    assert changed[:, 1].min() >= 16
    assert changed[:, 1].max() < 16 + 244
    assert np.ptp(changed[:, 0]) < 184


def test_two_or_three_samples_are_in_a_row() -> None:
    wide, high = noise(180, 240), noise(240, 150)
    sizes = {count: opened(draw_unit_on_images("", "", [sample(wide)] * count)).shape[:2] for count in (1, 2, 3, 4)}
    assert [sizes[count][1] for count in sizes] == [540, 1040, 1040, 1040]
    assert sizes[1][0] == sizes[2][0] < sizes[3][0] == sizes[4][0]
    three = opened(draw_unit_on_images("", "", [sample(high)] * 3))
    assert three.shape[0] < 330 < 960 < three.shape[1]


def test_each_row_is_as_high_as_its_images() -> None:
    images = [noise(60, 240), noise(60, 240), noise(240, 240), noise(60, 240)]
    page = draw_unit_on_images("", "", [sample(image) for image in images])
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
    sample_level = np.ones((1, 1), np.bool_)
    page = opened(draw_unit_on_images("", "", [sample(noise(*size), sample_level, sample_level)]))
    for panel, colour in zip(panels(page, *drawn), (UNIT_COLOUR, FORMULA_COLOUR), strict=True):
        frame = np.ones(panel.shape[:2], np.bool_)
        frame[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE] = False
        assert is_colour(panel, colour)[frame].all()
        assert not is_colour(panel, colour)[~frame].any()


def test_small_images_are_enlarged_by_whole_pixels() -> None:
    image = noise(20, 30)
    first, _ = panels(opened(draw_unit_on_images("", "", [sample(image, np.ones((5, 5), np.bool_))])), 160, 240)
    large = np.asarray(image).repeat(8, axis=0).repeat(8, axis=1)
    np.testing.assert_array_equal(first[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE], large)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_images_of_any_mode_are_drawn(mode: str) -> None:
    opened(draw_unit_on_images("", "", [sample(noise().convert(mode))]))


@pytest.mark.parametrize("wrong", [np.ones(4, np.bool_), np.ones((0, 3), np.bool_), np.ones((2, 2, 2), np.bool_)])
def test_a_wrong_mask_of_an_image_is_refused(wrong: Mask) -> None:
    with pytest.raises(ValueError, match=r"A mask of an image must be \[h, w\]"):
        draw_unit_on_images("", "", [sample(firing=wrong)])

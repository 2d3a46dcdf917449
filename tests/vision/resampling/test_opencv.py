"""Resizing equals that of OpenCV itself."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from faceter.contracts.preprocessing import Interpolation
from faceter.vision.resampling.opencv import computed_resize, opencv, opencv_resize
from faceter.vision.resampling.taps import Axis
from tests.vision.resampling.sample_images import differences, drawn, noise, sides, sizes

FLAGS = {
    Interpolation.NEAREST: cv2.INTER_NEAREST,
    Interpolation.BILINEAR: cv2.INTER_LINEAR,
    Interpolation.BICUBIC: cv2.INTER_CUBIC,
    Interpolation.LANCZOS: cv2.INTER_LANCZOS4,
    Interpolation.AREA: cv2.INTER_AREA,
}
EXACT = (Interpolation.NEAREST, Interpolation.BILINEAR)
Size = tuple[int, int]


@pytest.fixture(params=[True, False], ids=["with IPP", "without IPP"])
def ipp(request: pytest.FixtureRequest) -> Iterator[bool]:
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(request.param)
    yield request.param
    cv2.ipp.setUseIPP(before)


def whole(size: Size, resized: Size) -> tuple[Axis, Axis]:
    """Return the axes of a whole image: rows, then columns."""
    return Axis(size[1], resized[1], 0, resized[1]), Axis(size[0], resized[0], 0, resized[0])


@settings(deadline=None)
@given(sizes, sizes, st.sampled_from(EXACT), st.integers(0, 9))
@example((40, 30), (20, 15), Interpolation.BILINEAR, 0)
@example((2, 3), (89, 90), Interpolation.BILINEAR, 0)
def test_every_pixel_is_equal(size: Size, resized: Size, interpolation: Interpolation, seed: int) -> None:
    pixels = noise(size, seed)
    expected = cv2.resize(pixels, resized, interpolation=FLAGS[interpolation])
    np.testing.assert_array_equal(computed_resize(pixels, *whole(size, resized), interpolation), expected)


@settings(deadline=None)
@given(sizes, sizes, st.sampled_from(Interpolation), st.integers(0, 9))
def test_no_pixel_differs_by_more_than_one(size: Size, resized: Size, interpolation: Interpolation, seed: int) -> None:
    pixels = noise(size, seed)
    expected = cv2.resize(pixels, resized, interpolation=FLAGS[interpolation])
    found = computed_resize(pixels, *whole(size, resized), interpolation)
    assert differences(found, expected).max() <= 1


@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize("resized", [(224, 224), (640, 480), (1000, 777), (250, 200), (125, 100)])
def test_images_are_equal(interpolation: Interpolation, resized: Size, ipp: bool) -> None:
    pixels = np.asarray(drawn((500, 400)))
    expected = cv2.resize(pixels, resized, interpolation=FLAGS[interpolation])
    apart = differences(computed_resize(pixels, *whole((500, 400), resized), interpolation), expected)
    assert apart.max() <= (0 if interpolation in EXACT else 1)
    # OpenCV's own bicubic with and without IPP differs as much; the others in the rounding of ties
    limit = 0.05 if interpolation is Interpolation.BICUBIC and not ipp else 0.002
    assert (apart > 0).mean() < limit


@given(sizes, sizes, st.sampled_from(Interpolation), st.data())
@settings(deadline=None)
def test_a_part_is_that_part_of_the_whole(
    size: Size, resized: Size, interpolation: Interpolation, data: st.DataObject
) -> None:
    pixels = noise(size)
    left, top = (data.draw(st.integers(0, side - 1)) for side in resized)
    width, height = data.draw(sides) % (resized[0] - left) + 1, data.draw(sides) % (resized[1] - top) + 1
    every = computed_resize(pixels, *whole(size, resized), interpolation)
    part = computed_resize(
        pixels, Axis(size[1], resized[1], top, height), Axis(size[0], resized[0], left, width), interpolation
    )
    np.testing.assert_array_equal(part, every[top : top + height, left : left + width])


@settings(deadline=None)
@given(sizes, sizes, st.sampled_from(Interpolation), st.data())
def test_parts_are_equal_with_and_without_opencv(
    size: Size, resized: Size, interpolation: Interpolation, data: st.DataObject
) -> None:
    assert opencv() is cv2
    spans = []
    for whole_side in (resized[1], resized[0]):
        first = data.draw(st.integers(0, whole_side - 1))
        spans.append((first, data.draw(st.integers(1, whole_side - first))))
    rows, columns = Axis(size[1], resized[1], *spans[0]), Axis(size[0], resized[0], *spans[1])
    pixels = noise(size, 0)
    expected = computed_resize(pixels, rows, columns, interpolation)
    np.testing.assert_array_equal(opencv_resize(pixels, rows, columns, interpolation), expected)

"""The evaluation set: selection, size, and the mean training image."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.workers.translation.sources import GivenImages, smooth
from workers.translation.evaluation_set import MAX_IMAGES, evaluation_set
from workers.translation.images import ResizedImages

SIZE = 16


def plain(*values: int, size: int = 20) -> list[Image.Image]:
    """Return images of one colour each, a grey."""
    return [Image.new("RGB", (size, size), (value, value, value)) for value in values]


@pytest.fixture
def trained_on(tmp_path: Path) -> ResizedImages:
    return ResizedImages(GivenImages(plain(0, 100), plain(200, 230, 230)), SIZE, folder=tmp_path)


def test_all_images_are_in_order_and_resized(trained_on: ResizedImages) -> None:
    found = evaluation_set(GivenImages(plain(10, 20, 30), plain(40, 50)), trained_on, SIZE, held_out=True, paired=False)
    assert found.images["A"].shape == (3, 3, SIZE, SIZE)
    assert found.images["A"].dtype == np.uint8
    assert found.images["A"].mean(axis=(1, 2, 3)).tolist() == [10, 20, 30]
    assert found.images["B"].mean(axis=(1, 2, 3)).tolist() == [40, 50]
    assert (found.held_out, found.paired) == (True, False)


def test_images_are_resized_as_for_training(trained_on: ResizedImages) -> None:
    (image,) = smooth(1, 40)
    found = evaluation_set(GivenImages([image], [image]), trained_on, SIZE, held_out=False, paired=False)
    expected = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    np.testing.assert_array_equal(found.images["A"][0], expected)


def test_the_mean_is_that_of_the_training_images(trained_on: ResizedImages) -> None:
    found = evaluation_set(GivenImages(plain(1), plain(2)), trained_on, SIZE, held_out=True, paired=False)
    for domain, value in (("A", 50), ("B", 220)):
        assert found.mean[domain].shape == (3, SIZE, SIZE)
        np.testing.assert_allclose(found.mean[domain], value, atol=1e-3)


def test_the_mean_is_per_pixel_and_channel(tmp_path: Path) -> None:
    half = Image.new("RGB", (32, 32))
    half.paste((255, 0, 0), (0, 0, 16, 32))
    images = ResizedImages(GivenImages([half, half], plain(9)), SIZE, folder=tmp_path)
    mean = evaluation_set(GivenImages([half], plain(9)), images, SIZE, held_out=True, paired=False).mean["A"]
    np.testing.assert_allclose(mean[0, :, :5], 255, atol=1)
    np.testing.assert_allclose(mean[0, :, -5:], 0, atol=1)
    np.testing.assert_allclose(mean[1:], 0, atol=1)


class Crossed(GivenImages):
    """Pairs whose images are not in the same order."""

    def pairs(self) -> list[tuple[int, int]]:
        return [(0, 2), (1, 0), (2, 1)]


def test_pairs_stay_together(trained_on: ResizedImages) -> None:
    source = Crossed(plain(1, 2, 3), plain(102, 103, 101))
    found = evaluation_set(source, trained_on, SIZE, held_out=True, paired=True)
    assert found.paired
    a, b = (found.images[domain].mean(axis=(1, 2, 3)) for domain in "AB")
    np.testing.assert_array_equal(b - a, 100)
    unpaired = evaluation_set(source, trained_on, SIZE, held_out=True, paired=False)
    assert unpaired.images["B"].mean(axis=(1, 2, 3)).tolist() == [102, 103, 101]


@pytest.mark.parametrize("paired", [False, True])
def test_of_many_images_an_evenly_spaced_subset_is_taken(trained_on: ResizedImages, paired: bool) -> None:
    image = plain(7, size=2)[0]
    source = GivenImages([image] * 1200, [image] * (1200 if paired else 3), paired=paired)
    found = evaluation_set(source, trained_on, 4, held_out=True, paired=paired)
    assert [len(found.images[domain]) for domain in "AB"] == ([MAX_IMAGES, MAX_IMAGES] if paired else [MAX_IMAGES, 3])
    read = [index for domain, index in source.read if domain == "A"]
    assert len(set(read)) == MAX_IMAGES == 500
    assert {second - first for first, second in pairwise(read)} == {2, 3}
    assert min(read) < 3
    assert max(read) >= 1197

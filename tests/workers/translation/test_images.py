"""Training images: size, and storage in memory or in a file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from tests.workers.translation.sources import GivenImages, inverted, smooth
from workers.translation.images import Domain, Resize, ResizedImages, loaded_size


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def test_images_are_stretched_to_286_256ths_of_the_crop(tmp_path: Path) -> None:
    image = noise(90, 60)
    images = ResizedImages(GivenImages([image], [image]), 64, folder=tmp_path)
    assert loaded_size(256) == 286
    assert loaded_size(64) == 72
    expected = np.asarray(image.resize((72, 72), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    found = images.pixels("A", 0)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("size", "shape"), [((90, 60), (3, 72, 108)), ((30, 45), (3, 108, 72)), ((9, 9), (3, 72, 72))])
def test_covering_images_keep_their_aspect_ratio(size: tuple[int, int], shape: tuple[int, ...], tmp_path: Path) -> None:
    image = noise(*size)
    assert (
        ResizedImages(GivenImages([image], [image]), 64, folder=tmp_path, resize="cover").pixels("B", 0).shape == shape
    )


def test_grey_images_get_three_channels(tmp_path: Path) -> None:
    image = noise(40, 40)
    images = ResizedImages(GivenImages([image.convert("L")], [image]), 32, folder=tmp_path)
    assert images.pixels("A", 0).shape == (3, 36, 36)


def test_every_image_is_decoded_once_and_found_in_its_domain(tmp_path: Path) -> None:
    a, b = smooth(5, seed=1), smooth(3, seed=2)
    source = GivenImages(a, b)
    images = ResizedImages(source, 32, folder=tmp_path)
    domains: list[tuple[Domain, list[Image.Image]]] = [("A", a), ("B", b)]
    for domain, given in domains:
        assert images.count(domain) == len(given)
        for index, image in enumerate(given):
            assert np.array_equal(images.pixels(domain, index), np.asarray(image).transpose(2, 0, 1))
        with pytest.raises(IndexError):
            images.pixels(domain, len(given))
    assert len(source.read) == len(set(source.read)) == 8


@pytest.mark.parametrize("most", [0, 3 * 36 * 36 * 4, 3 * 36 * 36 * 9])
@pytest.mark.parametrize("resize", ["stretch", "cover"])
def test_images_beyond_the_memory_limit_are_in_a_file(most: int, resize: Resize, tmp_path: Path) -> None:
    source = GivenImages([noise(40 + 9 * i, 40, i) for i in range(5)], [noise(50, 40 + i, 9 + i) for i in range(4)])
    (tmp_path / "filed").mkdir()
    kept = ResizedImages(source, 32, folder=tmp_path, resize=resize)
    filed = ResizedImages(source, 32, folder=tmp_path / "filed", resize=resize, most_bytes=most)
    counts: dict[Domain, int] = {"A": 5, "B": 4}
    for domain, count in counts.items():
        for index in range(count):
            assert np.array_equal(kept.pixels(domain, index), filed.pixels(domain, index))
    assert not list(tmp_path.glob("*.bin")), "images within the limit are not written"
    fits = resize == "stretch" and most == 3 * 36 * 36 * 9
    assert len(list((tmp_path / "filed").glob("*.bin"))) == (0 if fits else 1)
    assert isinstance(filed.pixels("A", 0), np.memmap) is not fits


def test_a_domain_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceterError, match="domain B has no image") as caught:
        ResizedImages(GivenImages(smooth(2), []), 32, folder=tmp_path)
    assert caught.value.kind is ProblemKind.INVALID_DATASET


def test_pairs_are_those_of_the_dataset(tmp_path: Path) -> None:
    given = smooth(4)
    assert ResizedImages(GivenImages(given, inverted(given), paired=True), 32, folder=tmp_path).pairs == [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
    ]

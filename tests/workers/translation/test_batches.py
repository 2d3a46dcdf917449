"""Batches: order, crops, prefetching, and continuing from a position."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.workers.translation.sources import GivenImages, inverted, smooth
from workers.translation.batches import BatchLoader, normalize, random_crop
from workers.translation.images import ResizedImages


def plain(*numbers: int) -> list[Image.Image]:
    """Return images of one grey level each."""
    return [Image.new("RGB", (36, 36), (number, number, number)) for number in numbers]


def number(image: Tensor) -> int:
    return round((float(image[0, 0, 0]) + 1) * 127.5)


def taken(batches: BatchLoader, count: int) -> list[tuple[list[int], list[int]]]:
    found = (batches.next_batch() for _ in range(count))
    return [([number(x) for x in first], [number(x) for x in second]) for first, second in found]


def of_greys(
    folder: Path, a: range, b: range, *, seed: int = 0, batch_size: int = 1, paired: bool = False
) -> BatchLoader:
    source = GivenImages(plain(*a), plain(*b), paired=paired)
    return BatchLoader(ResizedImages(source, 32, folder=folder), batch_size=batch_size, seed=seed, paired=paired)


def test_a_is_shuffled_every_epoch_and_b_is_drawn_at_random(tmp_path: Path) -> None:
    found = taken(of_greys(tmp_path, range(0, 20), range(100, 110)), 400)
    epochs = [[first[0] for first, _ in found[start : start + 20]] for start in range(0, 400, 20)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 20
    drawn = Counter(second[0] for _, second in found)
    assert set(drawn) == set(range(100, 110))
    assert all(10 <= count <= 75 for count in drawn.values())
    assert len({second[0] for _, second in found[:10]}) < 10, "with replacement"


def test_an_epoch_is_as_long_as_the_larger_domain(tmp_path: Path) -> None:
    batches = of_greys(tmp_path, range(0, 4), range(100, 110), batch_size=2)
    assert (batches.steps(1), batches.steps(3)) == (5, 15)
    found = taken(batches, 5)
    counts = Counter(value for first, _ in found for value in first)
    assert sorted(counts.values()) == [2, 2, 3, 3]
    assert batches.epochs == 1.0


def test_batches_have_one_size_across_epochs(tmp_path: Path) -> None:
    batches = of_greys(tmp_path, range(0, 5), range(100, 105), batch_size=3)
    assert batches.steps(2) == 4
    firsts = [value for first, _ in taken(batches, 5) for value in first]
    assert [sorted(firsts[start : start + 5]) for start in (0, 5, 10)] == [list(range(5))] * 3
    assert batches.epochs == 3.0


def test_both_images_of_a_pair_get_the_same_crop_and_mirroring(tmp_path: Path) -> None:
    images = smooth(7, 50)
    source = GivenImages(images, inverted(images), paired=True)
    batches = BatchLoader(ResizedImages(source, 32, folder=tmp_path), batch_size=2, seed=0, paired=True)
    for _ in range(20):
        first, second = batches.next_batch()
        # Bicubic filtering of x and of 255 − x is rounded and clipped each for itself.
        torch.testing.assert_close(first, -second, rtol=0, atol=1.01 * 2 / 255)
    assert batches.steps(1) == 4
    found = taken(of_greys(tmp_path, range(0, 9), range(100, 109), paired=True), 18)
    assert all(second[0] == first[0] + 100 for first, second in found)
    assert [sorted(first[0] for first, _ in found[start : start + 9]) for start in (0, 9)] == [list(range(9))] * 2


def test_a_dataset_without_pairs_is_refused(tmp_path: Path) -> None:
    images = ResizedImages(GivenImages(smooth(2), smooth(2)), 32, folder=tmp_path)
    with pytest.raises(ValueError, match="no pairs"):
        BatchLoader(images, batch_size=1, seed=0, paired=True)


def test_crops_are_everywhere_and_half_are_mirrored() -> None:
    pixels = np.arange(3 * 6 * 7, dtype=np.uint8).reshape(3, 6, 7)
    seen: Counter[tuple[int, int, bool]] = Counter()
    for numbers in np.random.default_rng(0).random((600, 3)):
        found = random_crop(pixels, 4, numbers)
        mirrored = found[0, 0, 0] > found[0, 0, 1]
        corner = round((float(found[0, 0, -1 if mirrored else 0]) + 1) * 127.5)
        expected = normalize(pixels[:, corner // 7 : corner // 7 + 4, corner % 7 : corner % 7 + 4])
        assert np.array_equal(found, expected[:, :, ::-1] if mirrored else expected)
        seen[corner // 7, corner % 7, bool(mirrored)] += 1
    assert set(seen) == {(top, left, way) for top in range(3) for left in range(4) for way in (False, True)}
    assert all(count > 8 for count in seen.values())


def test_pixels_become_minus_one_to_one() -> None:
    found = normalize(np.array([0, 255, 51], np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [-1.0, 1.0, -0.6], atol=1e-6)


def test_a_batch_is_float32_of_the_size_asked_for(tmp_path: Path) -> None:
    source = GivenImages(smooth(3, 60), smooth(3, 60, seed=1))
    batches = BatchLoader(ResizedImages(source, 32, folder=tmp_path), batch_size=4, seed=0)
    for part in batches.next_batch():
        assert part.shape == (4, 3, 32, 32)
        assert part.dtype is torch.float32
        assert float(part.abs().max()) <= 1.0


def test_batches_follow_from_the_seed(tmp_path: Path) -> None:
    source = GivenImages(smooth(6), smooth(6, seed=1))
    images = ResizedImages(source, 32, folder=tmp_path)
    first, equal, other = (BatchLoader(images, batch_size=1, seed=seed) for seed in (3, 3, 4))
    same = [
        [torch.equal(x, y) for x, y in zip(one.next_batch(), two.next_batch(), strict=True)]
        for one, two in ((first, equal), (first, equal), (first, other))
    ]
    assert same == [[True, True], [True, True], [False, False]]


def test_a_position_is_gone_on_from(tmp_path: Path) -> None:
    """Also by batches of another seed that have been somewhere else."""
    source = GivenImages(smooth(6), smooth(5, seed=1))
    images = ResizedImages(source, 32, folder=tmp_path)
    first, again = BatchLoader(images, batch_size=2, seed=3), BatchLoader(images, batch_size=2, seed=4)
    for _ in range(7):
        first.next_batch()
    for _ in range(8):
        again.next_batch()
    again.restore(first.state())
    assert again.epochs == first.epochs
    for _ in range(9):
        assert all(torch.equal(x, y) for x, y in zip(first.next_batch(), again.next_batch(), strict=True))


def test_batches_are_prefetched_and_waiting_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = of_greys(tmp_path, range(0, 4), range(100, 104))
    batches.next_batch()
    made, held = batches._batch, threading.Event()
    for future in batches._pending:
        future.result()
    assert len(batches._pending) >= 2, "those after it are ready"
    before = batches.waited

    def slow(position: int) -> tuple[Tensor, Tensor]:
        held.wait(0.05)
        return made(position)

    monkeypatch.setattr(batches, "_batch", slow)
    for _ in range(8):
        batches.next_batch()
    assert batches.waited - before > 0.1


def test_an_error_in_the_prefetching_thread_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = of_greys(tmp_path, range(0, 4), range(100, 104))

    def broken(position: int) -> tuple[Tensor, Tensor]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(batches, "_batch", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        batches.next_batch()

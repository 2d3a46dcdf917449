"""The image pool: which images it returns, how often, and continuing from a state."""

import pytest
import torch
from torch import Tensor

from workers.translation.image_pool import ImagePool

CPU = torch.device("cpu")


def pool(capacity: int = 50, seed: int = 0) -> ImagePool:
    return ImagePool(capacity, torch.Generator().manual_seed(seed))


def numbered(*numbers: int) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()


def numbers(images: Tensor) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


def test_below_its_capacity_it_stores_and_returns_new_images() -> None:
    images = pool()
    assert [numbers(images.query(numbered(index))) for index in range(50)] == [[index] for index in range(50)]
    assert numbers(torch.stack(images.state()["stored"])) == list(range(50))


def test_when_full_it_returns_an_earlier_image_half_of_the_time() -> None:
    """The number of 4,000 is within five deviations of its mean, and the ages are geometric with mean 100."""
    images = pool()
    images.query(numbered(*range(50)))
    asked = range(50, 4050)
    ages = [index - numbers(images.query(numbered(index)))[0] for index in asked]
    earlier = [age for age in ages if age]
    assert abs(len(earlier) - 2000) < 5 * 1000**0.5
    assert sum(earlier) / len(earlier) == pytest.approx(100, rel=0.1)


def test_a_stored_image_is_returned_once() -> None:
    images = pool(capacity=5)
    seen = [numbers(images.query(numbered(index)))[0] for index in range(500)]
    stored_once = seen[5:]
    assert len(set(stored_once)) == len(stored_once)


def test_the_returned_image_is_drawn_uniformly() -> None:
    counts = [0] * 10
    for seed in range(2000):
        images = pool(capacity=10, seed=seed)
        images.query(numbered(*range(10)))
        answer = numbers(images.query(numbered(10)))[0]
        if answer < 10:
            counts[answer] += 1
    assert sum(counts) > 900
    assert all(abs(count - sum(counts) / 10) < 5 * (sum(counts) / 10) ** 0.5 for count in counts)


def test_each_image_of_a_batch_is_drawn_independently() -> None:
    together, alone = pool(capacity=3), pool(capacity=3)
    for start in range(0, 60, 4):
        batch = numbered(*range(start, start + 4))
        found = together.query(batch)
        assert torch.equal(found, torch.cat([alone.query(image[None]) for image in batch]))


def test_stored_images_are_copies_without_gradients() -> None:
    images = pool(capacity=1)
    given = numbered(7).requires_grad_(True)
    assert not images.query(given * 1.0).requires_grad
    with torch.no_grad():
        given.zero_()
    assert numbers(torch.stack(images.state()["stored"])) == [7]


def test_without_capacity_it_returns_every_image() -> None:
    images = pool(capacity=0)
    assert [numbers(images.query(numbered(index)))[0] for index in range(20)] == list(range(20))


def test_it_continues_from_its_state() -> None:
    first = pool(capacity=4)
    first.query(numbered(*range(20)))
    again = pool(capacity=4, seed=99)
    again.restore(first.state(), CPU)
    later = numbered(*range(20, 60))
    assert torch.equal(again.query(later), first.query(later))

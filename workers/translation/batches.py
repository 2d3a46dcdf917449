"""The order of training: which images a step takes, cut and mirrored at random, ready before they are asked for."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.translation.images import Domain, Images, Pixels

_AHEAD = 3
_ORDER, _CHOICE = 0, 1


class Batches:
    """Batches of images of A and B, one after the other, without end.

    An epoch is as many images as the larger domain has. A walks through a shuffled epoch, beginning again where it
    has fewer, and each image of B is drawn at random, so that no two images belong together (Zhu et al., ICCV 2017,
    as published). With ``paired`` an epoch walks through the shuffled pairs, and both of a pair are cut and mirrored
    alike. A batch may reach into the next epoch: all are of the same size.

    What a batch holds depends on nothing but the seed and its number, so the position is all there is to keep.

    Args:
        images: Those of both domains.
        batch_size: Images of each domain in a batch.
        seed: Equal seeds give equal batches.
        paired: Whether images of A and B belong together.
        pinned: Whether batches lie in pinned memory, from where a GPU fetches them while it works.

    Attributes:
        waited: Seconds that :meth:`take` waited, in all.

    Raises:
        ValueError: If there are no pairs where they are asked for.
    """

    def __init__(
        self, images: Images, *, batch_size: int, seed: int, paired: bool = False, pinned: bool = False
    ) -> None:
        if paired and not images.pairs:
            raise ValueError("there are no pairs of images; give them equal names in A and B")
        self.waited = 0.0
        self._images = images
        self._size = batch_size
        self._seed = seed
        self._paired = paired
        self._pinned = pinned
        self._length = len(images.pairs) if paired else max(images.count("A"), images.count("B"))
        self._taken = 0
        self._order: tuple[tuple[int, int], NDArray[np.int64]] = ((-1, -1), np.empty(0, np.int64))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="images")
        self._coming: deque[Future[tuple[Tensor, Tensor]]] = deque()

    @property
    def image_size(self) -> int:
        """Sides of the images, pixels."""
        return self._images.image_size

    @property
    def batch_size(self) -> int:
        """Images of each domain in a batch."""
        return self._size

    @property
    def epochs(self) -> float:
        """How often the images were gone through."""
        return self._taken * self._size / self._length

    def steps(self, epochs: int) -> int:
        """Return how many batches it takes to go through the images that often."""
        return -(-epochs * self._length // self._size)

    def take(self) -> tuple[Tensor, Tensor]:
        """Return the next batch of A and of B, each float32 [batch_size, 3, image_size, image_size] in [−1, 1]."""
        began = time.monotonic()
        while len(self._coming) <= _AHEAD:
            self._coming.append(self._thread.submit(self._batch, self._taken + len(self._coming)))
        found = self._coming.popleft().result()
        self._taken += 1
        self.waited += time.monotonic() - began
        return found

    def state(self) -> dict[str, Any]:
        """Return the position and the seed, which everything later depends on."""
        return {"taken": self._taken, "seed": self._seed, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        for future in self._coming:
            future.cancel()
        self._coming.clear()
        self._taken, self._seed, self.waited = state["taken"], state["seed"], state["waited"]

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        seed = self._seed
        found = [self._sample(seed, number * self._size + index) for index in range(self._size)]
        parts = (torch.from_numpy(np.stack(pixels)) for pixels in zip(*found, strict=True))
        first, second = (part.pin_memory() if self._pinned else part for part in parts)
        return first, second

    def _sample(self, seed: int, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the image of A and that of B that come at a place in the order, each [3, size, size]."""
        epoch, position = divmod(number, self._length)
        place = int(self._shuffled(seed, epoch)[position])
        random = np.random.default_rng([seed, _CHOICE, number])
        if self._paired:
            a, b = self._images.pairs[place]
        else:
            a, b = place % self._images.count("A"), int(random.integers(self._images.count("B")))
        first = random.random(3)
        second = first if self._paired else random.random(3)
        return self._cut("A", a, first), self._cut("B", b, second)

    def _shuffled(self, seed: int, epoch: int) -> NDArray[np.int64]:
        key, order = self._order
        if key != (seed, epoch):
            order = np.random.default_rng([seed, _ORDER, epoch]).permutation(self._length)
            self._order = (seed, epoch), order
        return order

    def _cut(self, domain: Domain, index: int, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        return cut(self._images.pixels(domain, index), self.image_size, numbers)


def cut(pixels: Pixels, size: int, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a square of an image, mirrored or not, float32 [3, size, size] in [−1, 1].

    Args:
        pixels: The image, uint8 [3, h, w], no side shorter than ``size``.
        size: Sides of the square, pixels.
        numbers: Three random ones in [0, 1): how far down it is, how far to the right, and whether it is mirrored.
    """
    top, left = (int(share * (side - size + 1)) for share, side in zip(numbers, pixels.shape[1:], strict=False))
    part = pixels[:, top : top + size, left : left + size]
    return normalized(part[:, :, ::-1] if numbers[2] < 0.5 else part)


def normalized(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels from 0 to 255 as float32 in [−1, 1], of the shape given."""
    return np.ascontiguousarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)

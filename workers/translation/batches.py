"""Training batches: shuffled, randomly cropped and mirrored, prefetched by a thread."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.training.replicas import ALONE, Replicas
from workers.translation.images import Domain, Pixels, ResizedImages

_PREFETCH = 3
_SHUFFLE_STREAM, _SAMPLE_STREAM = 0, 1


class BatchLoader:
    """An endless sequence of batches of images of A and B.

    An epoch has as many images as the larger domain. Images of A are shuffled every epoch (and repeated if A is
    smaller); each image of B is drawn at random, so images are unpaired (Zhu et al., ICCV 2017). With ``paired``, pairs
    are shuffled and both images get the same crop and mirroring. A batch may cross the end of an epoch: all batches
    have the same size.

    A batch depends only on the seed and its number, so the position is the whole state.

    Args:
        images: The images of both domains.
        batch_size: Images of each domain in a batch.
        seed: Equal seeds give equal batches.
        paired: Whether images of A and B are pairs.
        pinned: Whether batches are in pinned memory, for asynchronous copies to a GPU.
        replicas: Each loads its share of a batch only.

    Attributes:
        waited: Total seconds that :meth:`next_batch` waited.
        replicas: The processes that share a batch.

    Raises:
        ValueError: If ``paired`` and there are no pairs.
    """

    def __init__(
        self,
        images: ResizedImages,
        *,
        batch_size: int,
        seed: int,
        paired: bool = False,
        pinned: bool = False,
        replicas: Replicas = ALONE,
    ) -> None:
        if paired and not images.pairs:
            raise ValueError("there are no pairs of images; give them equal names in A and B")
        self.waited = 0.0
        self.replicas = replicas
        self._images = images
        self._size = batch_size
        self._seed = seed
        self._paired = paired
        self._pinned = pinned
        self._length = len(images.pairs) if paired else max(images.count("A"), images.count("B"))
        self._position = 0
        self._order: tuple[tuple[int, int], NDArray[np.int64]] = ((-1, -1), np.empty(0, np.int64))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="images")
        self._pending: deque[Future[tuple[Tensor, Tensor]]] = deque()

    @property
    def image_size(self) -> int:
        """Side of the crops, pixels."""
        return self._images.image_size

    @property
    def batch_size(self) -> int:
        """Images of each domain in a batch, those of all replicas."""
        return self._size

    @property
    def share_size(self) -> int:
        """Images of each domain that :meth:`next_batch` returns: this replica's share of the batch."""
        return len(range(self._size)[self.replicas.share(self._size)])

    @property
    def epochs(self) -> float:
        """Number of epochs so far."""
        return self._position * self._size / self._length

    def steps(self, epochs: int) -> int:
        """Return the number of batches in a number of epochs."""
        return -(-epochs * self._length // self._size)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Return the next batch of A and of B, each float32 [share_size, 3, image_size, image_size] in [−1, 1]."""
        started = time.monotonic()
        while len(self._pending) <= _PREFETCH:
            self._pending.append(self._thread.submit(self._batch, self._position + len(self._pending)))
        batch = self._pending.popleft().result()
        self._position += 1
        self.waited += time.monotonic() - started
        return batch

    def state(self) -> dict[str, Any]:
        """Return the position and the seed, which determine all later batches."""
        return {"taken": self._position, "seed": self._seed, "waited": self.waited}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state that :meth:`state` returned."""
        for future in self._pending:
            future.cancel()
        self._pending.clear()
        self._position, self._seed, self.waited = state["taken"], state["seed"], state["waited"]

    def _batch(self, number: int) -> tuple[Tensor, Tensor]:
        seed = self._seed
        share = range(self._size)[self.replicas.share(self._size)]
        samples = [self._sample(seed, number * self._size + index) for index in share]
        tensors = (torch.from_numpy(np.stack(pixels)) for pixels in zip(*samples, strict=True))
        a, b = (tensor.pin_memory() if self._pinned else tensor for tensor in tensors)
        return a, b

    def _sample(self, seed: int, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the sample of a number: crops of an image of A and one of B, each [3, size, size]."""
        epoch, position = divmod(number, self._length)
        index = int(self._shuffled(seed, epoch)[position])
        random = np.random.default_rng([seed, _SAMPLE_STREAM, number])
        if self._paired:
            a, b = self._images.pairs[index]
        else:
            a, b = index % self._images.count("A"), int(random.integers(self._images.count("B")))
        first = random.random(3)
        second = first if self._paired else random.random(3)
        return self._crop("A", a, first), self._crop("B", b, second)

    def _shuffled(self, seed: int, epoch: int) -> NDArray[np.int64]:
        key, order = self._order
        if key != (seed, epoch):
            order = np.random.default_rng([seed, _SHUFFLE_STREAM, epoch]).permutation(self._length)
            self._order = (seed, epoch), order
        return order

    def _crop(self, domain: Domain, index: int, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
        return random_crop(self._images.pixels(domain, index), self.image_size, numbers)


def random_crop(pixels: Pixels, size: int, numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a square crop of an image, mirrored with probability ½, float32 [3, size, size] in [−1, 1].

    Args:
        pixels: The image, uint8 [3, h, w], no side shorter than ``size``.
        size: Side of the square, pixels.
        numbers: Three random numbers in [0, 1): vertical position, horizontal position, mirroring.
    """
    top, left = (int(number * (side - size + 1)) for number, side in zip(numbers, pixels.shape[1:], strict=False))
    crop = pixels[:, top : top + size, left : left + size]
    return normalize(crop[:, :, ::-1] if numbers[2] < 0.5 else crop)


def normalize(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return pixels scaled from [0, 255] to [−1, 1], float32, same shape."""
    return np.ascontiguousarray(pixels, np.float32) / np.float32(127.5) - np.float32(1.0)

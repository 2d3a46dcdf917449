"""The training images of both domains, decoded and resized once, in memory or in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind

Domain = Literal["A", "B"]
"""One of the two domains."""

Resize = Literal["stretch", "cover"]
"""``stretch``: to a square, as published. ``cover``: by the shorter side, keeping the aspect ratio."""

Pixels = NDArray[np.uint8]
"""An image, [3, h, w]."""

MOST_BYTES: Final = 2**31
"""Default memory limit for images."""

_LOADED, _CROPPED = 286, 256
_FILE = "images.bin"


class TwoDomainDataset(Protocol):
    """A dataset of two domains."""

    def count(self, domain: Domain) -> int:
        """Return how many images a domain has."""

    def image(self, domain: Domain, index: int) -> Image.Image:
        """Return an image, RGB, with the EXIF orientation applied."""

    def pairs(self) -> Sequence[tuple[int, int]]:
        """Return the indices in A and B of the images that are pairs."""


class ResizedImages:
    """All images of a dataset, resized with bicubic filtering to 286/256 of the crop size of training.

    Args:
        source: The dataset; not used after construction.
        image_size: Side of the square crops, pixels.
        folder: For a memory-mapped file, if the images exceed ``most_bytes``; the caller deletes it.
        most_bytes: Memory limit, bytes.

    Attributes:
        image_size: Side of the square crops, pixels.
        pairs: Indices in A and B of the images that are pairs.

    Raises:
        FaceterError: ``INVALID_DATASET`` if a domain has no image.
    """

    def __init__(
        self,
        source: TwoDomainDataset,
        image_size: int,
        *,
        folder: Path,
        resize: Resize = "stretch",
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.image_size = image_size
        self.pairs = list(source.pairs())
        self._counts: dict[Domain, int] = {"A": source.count("A"), "B": source.count("B")}
        for domain, count in self._counts.items():
            if not count:
                raise FaceterError(
                    ProblemKind.INVALID_DATASET,
                    f"The domain {domain} has no image. Both domains need images, hundreds rather than tens.",
                )
        side = loaded_size(image_size)
        store = _PixelStore(folder / _FILE, most_bytes)
        for domain, count in self._counts.items():
            for index in range(count):
                store.add(_resized(source.image(domain, index), side, resize))
        self._pixels = store.all()

    def count(self, domain: Domain) -> int:
        """Return how many images a domain has."""
        return self._counts[domain]

    def pixels(self, domain: Domain, index: int) -> Pixels:
        """Return an image, uint8 [3, h, w], read-only, both sides at least 286/256 of ``image_size``."""
        place = range(self._counts[domain])[index]
        return self._pixels[place if domain == "A" else self._counts["A"] + place]


def loaded_size(image_size: int) -> int:
    """Return the side that images are resized to before random crops of ``image_size``, pixels."""
    return round(image_size * _LOADED / _CROPPED)


def _resized(image: Image.Image, side: int, resize: Resize) -> Pixels:
    width, height = image.size
    scale = side / min(width, height)
    size = (side, side) if resize == "stretch" else (max(side, round(width * scale)), max(side, round(height * scale)))
    small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small, np.uint8).transpose(2, 0, 1))


class _PixelStore:
    """Images in memory; all of them in a memory-mapped file once they exceed the limit."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path = path
        self._most = most_bytes
        self._pixels: list[Pixels] = []
        self._shapes: list[tuple[int, ...]] = []
        self._bytes = 0
        self._file: BinaryIO | None = None

    def add(self, pixels: Pixels) -> None:
        self._bytes += pixels.nbytes
        self._shapes.append(pixels.shape)
        self._pixels.append(pixels)
        if self._file is None and self._bytes > self._most:
            self._file = self._path.open("wb")
        if self._file is not None:
            for buffered in self._pixels:
                self._file.write(buffered.data)
            self._pixels.clear()

    def all(self) -> list[Pixels]:
        """Return all images, in the order they were added."""
        if self._file is None:
            return self._pixels
        self._file.close()
        values: np.memmap[Any, np.dtype[np.uint8]] = np.memmap(self._path, np.uint8, mode="r")
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        flat = np.split(values, ends[:-1])
        return [pixels.reshape(shape) for pixels, shape in zip(flat, self._shapes, strict=True)]

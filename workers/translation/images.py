"""The images of both domains, each decoded and resized once and kept as bytes."""

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
"""``stretch``: to a square, as published. ``cover``: the shorter side to that of the square, the shape kept."""

Pixels = NDArray[np.uint8]
"""An image, [3, h, w]."""

MOST_BYTES: Final = 2**31
"""Memory for images unless told otherwise."""

_LOADED, _CROPPED = 286, 256
_FILE = "images.bin"


class ImageSource(Protocol):
    """A dataset of two domains."""

    def count(self, domain: Domain) -> int:
        """Return how many images a domain has."""

    def image(self, domain: Domain, index: int) -> Image.Image:
        """Return an image, RGB and upright."""

    def pairs(self) -> Sequence[tuple[int, int]]:
        """Return which images of A and B belong together."""


class Images:
    """All images of a dataset, resized with bicubic filtering to 286/256 of the size that training cuts out of them.

    Args:
        source: The dataset; not needed any more afterwards.
        image_size: Sides of the square that is cut out, pixels.
        resize: How images are brought to size.
        folder: Where to keep them should they be more than ``most_bytes``: a file of its own there, read as it is
            needed. It is the caller's to remove.
        most_bytes: Memory for them, bytes.

    Attributes:
        image_size: Sides of the square that is cut out, pixels.
        pairs: Positions of the images of A and B that belong together.

    Raises:
        FaceterError: ``INVALID_DATASET`` if a domain has no image.
    """

    def __init__(
        self,
        source: ImageSource,
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
                    f"The domain {domain} has no image. Put images into both, better hundreds than tens.",
                )
        side = loaded_size(image_size)
        kept = _Kept(folder / _FILE, most_bytes)
        for domain, count in self._counts.items():
            for index in range(count):
                kept.add(_resized(source.image(domain, index), side, resize))
        self._pixels = kept.all()

    def count(self, domain: Domain) -> int:
        """Return how many images a domain has."""
        return self._counts[domain]

    def pixels(self, domain: Domain, index: int) -> Pixels:
        """Return an image, uint8 [3, h, w], both sides at least 286/256 of ``image_size``; not to be changed.

        Args:
            domain: Its domain.
            index: Its position there.
        """
        place = range(self._counts[domain])[index]
        return self._pixels[place if domain == "A" else self._counts["A"] + place]


def loaded_size(image_size: int) -> int:
    """Return the size that images are resized to before squares of ``image_size`` are cut out of them, pixels."""
    return round(image_size * _LOADED / _CROPPED)


def _resized(image: Image.Image, side: int, resize: Resize) -> Pixels:
    width, height = image.size
    scale = side / min(width, height)
    size = (side, side) if resize == "stretch" else (max(side, round(width * scale)), max(side, round(height * scale)))
    small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small, np.uint8).transpose(2, 0, 1))


class _Kept:
    """Images in memory, in a file from the first on that memory has no room for."""

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
            for waiting in self._pixels:
                self._file.write(waiting.data)
            self._pixels.clear()

    def all(self) -> list[Pixels]:
        """Return what was added, in order."""
        if self._file is None:
            return self._pixels
        self._file.close()
        values: np.memmap[Any, np.dtype[np.uint8]] = np.memmap(self._path, np.uint8, mode="r")
        ends = np.cumsum([int(np.prod(shape)) for shape in self._shapes])
        parts = np.split(values, ends[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)]

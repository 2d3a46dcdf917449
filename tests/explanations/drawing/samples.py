"""Images and signals with masks."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.explanations.drawing.images import ImageSample

Mask = NDArray[np.bool_]


def mask(height: int = 6, width: int = 8, *places: tuple[slice, slice]) -> Mask:
    marked = np.zeros((height, width), np.bool_)
    for place in places:
        marked[place] = True
    return marked


def noise(height: int = 180, width: int = 240) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(60, 256, (height, width, 3), np.uint8))


def sample(image: Image.Image | None = None, firing: Mask | None = None, formula: Mask | None = None) -> ImageSample:
    middle = mask(6, 8, (slice(2, 4), slice(2, 6)))
    return ImageSample(
        image=noise() if image is None else image,
        caption="17 · street.jpg · day",
        firing_mask=middle if firing is None else firing,
        formula_mask=middle if formula is None else formula,
    )


def wave(length: int = 435, channels: int = 1, size: float = 1.0) -> NDArray[np.float32]:
    time = np.linspace(0, 30, length)
    return (size * np.stack([np.sin(time + channel) for channel in range(channels)])).astype(np.float32)


def marks(length: int, *spans: tuple[int, int]) -> Mask:
    marked = np.zeros(length, np.bool_)
    for start, end in spans:
        marked[start:end] = True
    return marked

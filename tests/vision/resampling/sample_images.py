"""Images to resize, and sizes to resize them to."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

sides = st.integers(1, 90)
sizes = st.tuples(sides, sides)
"""Width and height."""


def noise(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Return random pixels, uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def drawn(size: tuple[int, int]) -> Image.Image:
    """Return a image with gradients, edges and fine stripes."""
    width, height = size
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    channels = [255 * x / width, 255 * y / height, 127.5 + 127.5 * np.sin(x * x / width + y)]
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.ellipse((width // 5, height // 4, width // 2, height // 2), fill=(255, 255, 255))
    pen.rectangle((width // 2, height // 2, width * 3 // 4, height * 4 // 5), fill=(0, 0, 30))
    return image


def differences(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Return the absolute differences of two arrays of equal shape."""
    assert first.shape == second.shape
    return np.abs(first.astype(np.float64) - second.astype(np.float64))

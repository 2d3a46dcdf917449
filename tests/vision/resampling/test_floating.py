"""Resizing in floating point equals torch's own, and TensorFlow's as its kernels are defined."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from faceter.contracts.preprocessing import Interpolation
from faceter.vision.resampling.floating import tensorflow_taps, torch_taps
from faceter.vision.resampling.taps import Axis, resampled
from tests.vision.resampling.sample_images import noise, sizes

Size = tuple[int, int]
TORCH = [item for item in Interpolation if item is not Interpolation.LANCZOS]
ALIASED = (Interpolation.NEAREST, Interpolation.AREA)


def axes(size: Size, resized: Size) -> tuple[Axis, Axis]:
    return Axis(size[1], resized[1], 0, resized[1]), Axis(size[0], resized[0], 0, resized[0])


@settings(deadline=None)
@given(sizes, sizes, st.sampled_from(TORCH), st.booleans(), st.integers(0, 9))
def test_torch(size: Size, resized: Size, interpolation: Interpolation, antialias: bool, seed: int) -> None:
    assume(min(size) > 1 or not antialias)  # torch 2.13 repeats the first row of an image one pixel wide
    pixels = noise(size, seed)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    options: dict[str, Any] = {} if interpolation in ALIASED else {"align_corners": False, "antialias": antialias}
    expected = interpolate(image, resized[::-1], mode=str(interpolation), **options)[0].permute(1, 2, 0)
    found = resampled(pixels, *(torch_taps(axis, interpolation, antialias=antialias) for axis in axes(size, resized)))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)


def test_torch_has_no_lanczos() -> None:
    with pytest.raises(ValueError, match="Lanczos"):
        torch_taps(Axis(4, 2, 0, 2), Interpolation.LANCZOS, antialias=True)


def weighted(line: NDArray[Any], weights: dict[int, float]) -> NDArray[Any]:
    total = sum(weights.values())
    return sum((line[index] * (weight / total) for index, weight in weights.items()), np.zeros(line.shape[1:]))


def half_pixel_bilinear(size: int, resized: int, output: int) -> dict[int, float]:
    """ResizeBilinear with half_pixel_centers: lower = max(⌊in⌋, 0), upper = min(⌈in⌉, size − 1), lerp = in − ⌊in⌋."""
    place = (output + 0.5) * (size / resized) - 0.5
    lower, upper = max(math.floor(place), 0), min(math.ceil(place), size - 1)
    lerp = place - math.floor(place)
    weights = {lower: 1 - lerp}
    weights[upper] = weights.get(upper, 0.0) + lerp
    return weights


def half_pixel_bicubic(size: int, resized: int, output: int) -> dict[int, float]:
    """ResizeBicubic with half_pixel_centers: Keys' kernel (a = −0.5) by a table of 1024 steps, normalized inside."""
    place = (output + 0.5) * (size / resized) - 0.5
    step = round((place - math.floor(place)) * 1024) / 1024
    weights = {}
    for tap in range(-1, 3):
        distance = abs(tap - step)
        near = (1.5 * distance - 2.5) * distance * distance + 1
        far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
        index = math.floor(place) + tap
        if 0 <= index < size:
            weights[index] = near if distance < 1 else far if distance < 2 else 0.0
    return weights


def nearest(size: int, resized: int, output: int) -> dict[int, float]:
    """HalfPixelScalerForNN, which computes in float32."""
    scale = np.float32(size) / np.float32(resized)
    return {min(math.floor((np.float32(output) + np.float32(0.5)) * scale), size - 1): 1.0}


def area(size: int, resized: int, output: int) -> dict[int, float]:
    """ResizeArea: the overlap of each pixel with the area of the output pixel."""
    start, end = output * size / resized, (output + 1) * size / resized
    shares = {index: min(index + 1, end) - max(index, start) for index in range(size)}
    return {index: share for index, share in shares.items() if share > 0}


def spans(kernel: Callable[[float], float], radius: float, *, antialias: bool) -> Callable[[int, int, int], Any]:
    """ScaleAndTranslate: the kernel, stretched where the image shrinks, over the pixels inside the image."""

    def weights(size: int, resized: int, output: int) -> dict[int, float]:
        scale = size / resized
        stretch = max(scale, 1.0) if antialias else 1.0
        sample = (output + 0.5) * scale
        first = min(max(math.ceil(sample - radius * stretch - 0.5), 0), size - 1)
        last = min(max(math.floor(sample + radius * stretch - 0.5), 0), size - 1)
        return {index: kernel(abs(index + 0.5 - sample) / stretch) for index in range(first, last + 1)}

    return weights


def triangle(distance: float) -> float:
    return max(0.0, 1 - distance)


def keys_cubic(x: float) -> float:
    if x >= 2:
        return 0.0
    return ((-0.5 * x + 2.5) * x - 4) * x + 2 if x >= 1 else (1.5 * x - 2.5) * x * x + 1


def lanczos3(x: float) -> float:
    if x > 3:
        return 0.0
    return 1.0 if x <= 1e-3 else 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2


TENSORFLOW: dict[tuple[Interpolation, bool], Callable[[int, int, int], dict[int, float]]] = {
    (Interpolation.NEAREST, False): nearest,
    (Interpolation.BILINEAR, False): half_pixel_bilinear,
    (Interpolation.BILINEAR, True): spans(triangle, 1, antialias=True),
    (Interpolation.BICUBIC, False): half_pixel_bicubic,
    (Interpolation.BICUBIC, True): spans(keys_cubic, 2, antialias=True),
    (Interpolation.LANCZOS, False): spans(lanczos3, 3, antialias=False),
    (Interpolation.LANCZOS, True): spans(lanczos3, 3, antialias=True),
    (Interpolation.AREA, False): area,
}
"""Weights by output pixel of the kernels in `tensorflow/core/kernels/image` that `tf.image.resize` calls."""


@settings(deadline=None, max_examples=200)
@given(sizes, sizes, st.sampled_from(list(TENSORFLOW)))
@example((1, 1), (7, 3), (Interpolation.BICUBIC, False))
@example((68, 1), (14, 1), (Interpolation.NEAREST, False))
def test_tensorflow(size: Size, resized: Size, method: tuple[Interpolation, bool]) -> None:
    pixels = noise(size)
    rows, columns = axes(size, resized)
    interpolation, antialias = method
    found = resampled(pixels, *(tensorflow_taps(axis, interpolation, antialias=antialias) for axis in (rows, columns)))
    reference = TENSORFLOW[method]
    down = np.stack([weighted(pixels, reference(rows.size, rows.resized, row)) for row in range(resized[1])])
    across = [weighted(down.swapaxes(0, 1), reference(columns.size, columns.resized, x)) for x in range(resized[0])]
    np.testing.assert_allclose(found, np.stack(across, axis=1), atol=1e-3)

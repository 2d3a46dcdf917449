"""The eleven basic colours of pixels.

References:
    Berlin, Kay, "Basic color terms", 1969: black, white, red, green, yellow, blue, brown, orange, pink, purple, gray.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import DerivedConcept
from faceter.explanations.derived import DERIVED_CONCEPTS

_STEPS = 32
"""Cells per channel of the lookup table."""

_EXAMPLES: dict[str, list[tuple[int, int, int]]] = {
    "black": [(0, 0, 0), (25, 25, 25), (30, 20, 15), (15, 20, 35)],
    "blue": [(0, 0, 255), (30, 60, 160), (70, 130, 220), (20, 30, 90), (130, 180, 235), (90, 120, 170)],
    "brown": [(120, 70, 20), (90, 55, 30), (150, 100, 60), (70, 40, 20), (130, 95, 70)],
    "gray": [(128, 128, 128), (80, 80, 80), (170, 170, 170), (110, 115, 120), (140, 135, 130), (55, 55, 58)],
    "green": [(0, 160, 0), (40, 90, 30), (120, 200, 80), (0, 100, 60), (80, 110, 60), (160, 220, 140), (35, 55, 25)],
    "orange": [(255, 140, 0), (230, 110, 30), (250, 170, 80)],
    "pink": [(255, 150, 190), (240, 120, 160), (255, 200, 215), (220, 130, 140)],
    "purple": [(128, 0, 160), (90, 40, 120), (170, 110, 200), (120, 80, 130)],
    "red": [(220, 0, 0), (150, 15, 20), (200, 50, 50), (255, 60, 40), (95, 10, 15)],
    "white": [(255, 255, 255), (235, 235, 235), (240, 245, 255), (250, 245, 230)],
    "yellow": [(255, 255, 0), (240, 210, 40), (255, 240, 130), (200, 180, 40)],
}


def color_numbers(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the basic colour of each pixel: that of the nearest example in CIE L*a*b* (CIE 15:2004).

    Args:
        pixels: sRGB, uint8 [..., 3].

    Returns:
        int64 [...]: number of the colour, 1 to 11, in the order of `DERIVED_CONCEPTS`.
    """
    places = pixels.astype(np.int64) * _STEPS // 256
    return np.asarray(_table()[places[..., 0], places[..., 1], places[..., 2]])


@cache
def _table() -> NDArray[np.int64]:
    """Return the colour at the middle of each cell of the RGB cube, int64 [steps, steps, steps]."""
    names = DERIVED_CONCEPTS[DerivedConcept.COLOR]["images"]["color"]
    examples = np.array([example for name in names for example in _EXAMPLES[name]], np.float64)
    owners = np.array([number for number, name in enumerate(names, 1) for _ in _EXAMPLES[name]], np.int64)
    middles = (np.arange(_STEPS) + 0.5) * 256 / _STEPS
    cube = np.stack(np.meshgrid(middles, middles, middles, indexing="ij"), axis=-1).reshape(-1, 3)
    known = _lab(examples)
    nearest = [((part[:, None] - known) ** 2).sum(axis=2).argmin(axis=1) for part in np.array_split(_lab(cube), _STEPS)]
    return np.asarray(owners[np.concatenate(nearest)].reshape(_STEPS, _STEPS, _STEPS))


def _lab(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIE L*a*b* (D65) of sRGB colours 0 to 255, [n, 3]."""
    shares = srgb / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    roots = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = roots.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)

"""COCO's masks: boxes and areas of run lengths (RLE) and of polygons, from untrusted annotations."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_LARGEST: Final = 1 << 31
_FEWEST_COORDINATES: Final = 6

Extent = tuple[list[float], float]
"""A bounding box (left, top, width, height) and the area of what it bounds, in pixels."""


def mask_extent(segmentation: Any) -> Extent | None:
    """Return the box around a mask and its area; None if it is empty or not a mask in COCO's form.

    Args:
        segmentation: Run lengths, ``{"size": [height, width], "counts": …}`` with a list of counts or COCO's compressed
            text; or polygons, lists ``[x1, y1, x2, y2, …]``.

    References:
        Package pycocotools, ``common/maskApi.c``: ``rleFrString``, ``rleToBbox`` and ``rleArea``.
    """
    if isinstance(segmentation, dict):
        return _run_length_extent(segmentation.get("size"), segmentation.get("counts"))
    if isinstance(segmentation, list) and segmentation:
        return _polygon_extent(segmentation)
    return None


def _run_length_extent(size: Any, counts: Any) -> Extent | None:
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)):
        return None
    height, width = size
    lengths = _decompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not all(type(length) is int and 0 <= length < _LARGEST for length in lengths):
        return None
    runs = np.array(lengths, np.int64)
    ends = runs.cumsum()
    if not len(runs) or ends[-1] != height * width:
        return None
    inside = (np.arange(len(runs)) % 2 == 1) & (runs > 0)  # runs of 0 and of 1 take turns, down each column
    if not inside.any():
        return None
    first, last = ends[inside] - runs[inside], ends[inside] - 1
    left, right = int((first // height).min()), int((last // height).max())
    crosses = bool((first // height != last // height).any())
    top = 0 if crosses else int((first % height).min())
    bottom = height - 1 if crosses else int((last % height).max())
    return [left, top, right - left + 1, bottom - top + 1], float(runs[inside].sum())


def _decompressed(text: str) -> list[int] | None:
    """Return the counts of COCO's compressed text: 5 bits a character, differences to the last but one count."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        part = ord(character) - 48
        if not 0 <= part < 64 or shift > 30:
            return None
        value |= (part & 0x1F) << shift
        shift += 5
        if part & 0x20:
            continue
        if part & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts if shift == 0 else None


def _polygon_extent(polygons: Sequence[Any]) -> Extent | None:
    points: list[NDArray[np.float64]] = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < _FEWEST_COORDINATES or len(polygon) % 2:
            return None
        if not all(isinstance(value, int | float) and abs(value) < _LARGEST for value in polygon):
            return None
        points.append(np.array(polygon, np.float64).reshape(-1, 2))
    low = np.min([part.min(axis=0) for part in points], axis=0)
    high = np.max([part.max(axis=0) for part in points], axis=0)
    area = sum(abs(_shoelace(part)) for part in points)
    return [*low.tolist(), *(high - low).tolist()], area


def _shoelace(points: NDArray[np.float64]) -> float:
    x, y = points.T
    return float(0.5 * np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))

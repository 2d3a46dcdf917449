"""Boxes and detections: intersection over union, non-maximum suppression, agreement of two detectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]

_BLOCK = 128
"""Boxes whose overlaps with all others are computed at once."""


@dataclass(frozen=True)
class Detections:
    """The detections of one image, best first."""

    boxes: FloatArray
    """float32 [n, 4]: left, top, right, bottom, in pixels."""
    scores: FloatArray
    """float32 [n], 0 to 1."""
    classes: IntArray
    """int64 [n]: indices into the model's labels."""
    keypoints: FloatArray | None = None
    """float32 [n, K, 2 or 3] of a model with key points: x and y in pixels, and visibility."""
    coefficients: FloatArray | None = None
    """float32 [n, P] of a model with instance masks: coefficients of the mask prototypes."""

    def __len__(self) -> int:
        return len(self.scores)


def iou_matrix(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return intersection over union of every box of ``first`` with every box of ``second``.

    Args:
        first: float [n, 4]: left, top, right, bottom.
        second: float [m, 4].

    Returns:
        float64 [n, m]; 0 if both boxes are empty.
    """
    a = [column[:, None] for column in np.asarray(first, np.float64).reshape(-1, 4).T]
    b = list(np.asarray(second, np.float64).reshape(-1, 4).T)
    intersection = _area(
        *(np.maximum(a[side], b[side]) for side in (0, 1)), *(np.minimum(a[side], b[side]) for side in (2, 3))
    )
    union = _area(*a) + _area(*b) - intersection
    ratios: FloatArray = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return ratios


def _area(left: FloatArray, top: FloatArray, right: FloatArray, bottom: FloatArray) -> FloatArray:
    area: FloatArray = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    return area


def non_maximum_suppression(
    boxes: FloatArray, scores: FloatArray, classes: IntArray, *, iou: float, limit: int, class_agnostic: bool = False
) -> IntArray:
    """Greedy non-maximum suppression: best first, each box that overlaps a kept one by more than ``iou`` is dropped.

    Args:
        boxes: float [n, 4]: left, top, right, bottom.
        scores: float [n]; among equal scores the earlier box comes first.
        classes: int [n]; boxes of different classes do not suppress each other unless ``class_agnostic``.
        iou: Threshold of the overlap.
        limit: Most boxes to keep.
        class_agnostic: Whether to ignore classes.

    Returns:
        int64 [k]: indices of the kept boxes, best first.
    """
    remaining = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(remaining) and len(kept) < limit:
        block = remaining[:_BLOCK]
        overlaps = iou_matrix(boxes[block], boxes[remaining]) > iou
        if not class_agnostic:
            overlaps &= classes[block][:, None] == classes[remaining]
        dropped = np.zeros(len(remaining), np.bool_)
        for row, index in enumerate(block.tolist()):
            if not dropped[row] and len(kept) < limit:
                kept.append(index)
                dropped |= overlaps[row]
        dropped[: len(block)] = True
        remaining = remaining[~dropped]
    return np.array(kept, np.int64)


def agreement_f1(first: Sequence[Detections], second: Sequence[Detections], *, iou: float = 0.5) -> float:
    """Return the F1 score of two detectors against each other, such as a quantized one and its original.

    Within an image, boxes of one class that overlap by at least ``iou`` are matched one to one, the largest overlap
    first. F1 = 2 · matches / (boxes of the first + boxes of the second) over all images. It is symmetric, and 1 if
    neither has any box.

    Args:
        first: One ``Detections`` per image.
        second: The same images in the same order.
        iou: Minimum overlap of a match.

    Raises:
        ValueError: If the numbers of images differ.
    """
    matches = sum(_matches(a, b, iou) for a, b in zip(first, second, strict=True))
    total = sum(map(len, first)) + sum(map(len, second))
    return 2 * matches / total if total else 1.0


def _matches(first: Detections, second: Detections, iou: float) -> int:
    overlaps = iou_matrix(first.boxes, second.boxes)
    overlaps[first.classes[:, None] != second.classes[None, :]] = -1
    count = 0
    while overlaps.size and overlaps.max() >= iou:
        row, column = np.unravel_index(np.argmax(overlaps), overlaps.shape)
        overlaps[row, :] = -1
        overlaps[:, column] = -1
        count += 1
    return count

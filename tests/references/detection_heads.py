"""Decoders of further detection heads, one candidate at a time, as their first implementations write them.

Each returns, for one image, a list of (left, top, right, bottom, scores per class) in input pixels.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.references.detection import Candidate, around, sigmoid, softmax

Found = tuple[NDArray[Any], float, int]


def every_label(candidates: list[Candidate], threshold: float) -> list[Found]:
    """Take every class of each candidate over the threshold, best first."""
    found = [
        (np.array([left, top, right, bottom]), score, number)
        for left, top, right, bottom, scores in candidates
        for number, score in enumerate(scores)
        if score >= threshold
    ]
    return sorted(found, key=lambda entry: -entry[1])


def yolov8(output: NDArray[Any]) -> list[Candidate]:
    """Read [4 + C, A]: centre, size, class probabilities."""
    return [around(x, y, width, height, scores) for x, y, width, height, *scores in output.T.tolist()]


def yolov5(output: NDArray[Any]) -> list[Candidate]:
    """Read [A, 5 + C]: centre, size, objectness, class probabilities."""
    return [
        around(x, y, width, height, [objectness * score for score in scores])
        for x, y, width, height, objectness, *scores in output.tolist()
    ]


def dfl(output: NDArray[Any], stride: int, bins: int) -> list[Candidate]:
    """Decode [4 · bins + C, rows, columns]: distances from the cell's middle as distributions, class logits."""
    _, rows, columns = output.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            values = output[:, row, column].tolist()
            sides = []
            for side in range(4):
                weights = softmax(values[side * bins : (side + 1) * bins])
                sides.append(sum(number * weight for number, weight in enumerate(weights)) * stride)
            x, y = (column + 0.5) * stride, (row + 0.5) * stride
            scores = [sigmoid(value) for value in values[4 * bins :]]
            found.append((x - sides[0], y - sides[1], x + sides[2], y + sides[3], scores))
    return found


def retinanet_anchors(size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Return left, top, right, bottom of the anchors of torchvision's RetinaNet: ratio by ratio, then size by size."""
    anchors = []
    for level, stride in enumerate((8, 16, 32, 64, 128)):
        base = 32 * 2**level
        sides = [base, int(base * 2 ** (1 / 3)), int(base * 2 ** (2 / 3))]
        for row in range(math.ceil(size[0] / stride)):
            for column in range(math.ceil(size[1] / stride)):
                for ratio in (0.5, 1.0, 2.0):
                    for side in sides:
                        height, width = side * math.sqrt(ratio), side / math.sqrt(ratio)
                        left, top = round(-width / 2) + column * stride, round(-height / 2) + row * stride
                        anchors.append(
                            (left, top, round(width / 2) + column * stride, round(height / 2) + row * stride)
                        )
    return anchors


def retinanet(boxes: NDArray[Any], logits: NDArray[Any], size: tuple[int, int]) -> list[Candidate]:
    """Decode offsets [A, 4] from the anchors, and class logits [A, C]."""
    found = []
    for (left, top, right, bottom), (dx, dy, dw, dh), row in zip(
        retinanet_anchors(size), boxes.tolist(), logits.tolist(), strict=True
    ):
        width, height = right - left, bottom - top
        x, y = left + width / 2 + dx * width, top + height / 2 + dy * height
        found.append(around(x, y, math.exp(dw) * width, math.exp(dh) * height, [sigmoid(value) for value in row]))
    return found


def ssd_anchors() -> list[list[float]]:
    """Return centre and size, in fractions, of the default boxes of torchvision's SSD300."""
    scales = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
    anchors = []
    for level, (stride, count) in enumerate(zip((8, 16, 32, 64, 100, 300), (38, 19, 10, 5, 3, 1), strict=True)):
        own, following = scales[level], scales[level + 1]
        shapes = [(own, own), (math.sqrt(own * following),) * 2]
        for ratio in ([2], [2, 3], [2, 3], [2, 3], [2], [2])[level]:
            shapes += [
                (own * math.sqrt(ratio), own / math.sqrt(ratio)),
                (own / math.sqrt(ratio), own * math.sqrt(ratio)),
            ]
        for row in range(count):
            for column in range(count):
                for width, height in shapes:
                    x, y = (column + 0.5) * stride / 300, (row + 0.5) * stride / 300
                    anchors.append([x, y, min(width, 1.0), min(height, 1.0)])
    return anchors


def queries(logits: NDArray[Any], boxes: NDArray[Any], size: tuple[int, int], *, no_object: bool) -> list[Candidate]:
    """Decode logits [Q, C] and boxes [Q, 4] in fractions: softmax without the last class (DETR), or sigmoids."""
    found = []
    for row, (x, y, width, height) in zip(logits.tolist(), boxes.tolist(), strict=True):
        scores = softmax(row)[:-1] if no_object else [sigmoid(value) for value in row]
        found.append(around(x * size[1], y * size[0], width * size[1], height * size[0], scores))
    return found


def centernet(
    heat: NDArray[Any], sizes: NDArray[Any], offsets: NDArray[Any], stride: int, threshold: float
) -> list[Found]:
    """Find the peaks of [C, rows, columns] logits among their eight neighbours; sizes and offsets are in cells."""
    classes, rows, columns = heat.shape
    found = []
    for number in range(classes):
        for row in range(rows):
            for column in range(columns):
                around_it = heat[number, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
                value = float(heat[number, row, column])
                if value < float(around_it.max()) or sigmoid(value) < threshold:
                    continue
                x, y = column + float(offsets[0, row, column]), row + float(offsets[1, row, column])
                width, height = float(sizes[0, row, column]), float(sizes[1, row, column])
                box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * stride
                found.append((box, sigmoid(value), number))
    return sorted(found, key=lambda entry: -entry[1])

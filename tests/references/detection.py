"""Decoders of well-known detection heads, cell by cell, as in their papers and first implementations.

Each returns, for one image, a list of (left, top, right, bottom, scores per class) in input pixels.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Candidate = tuple[float, float, float, float, list[float]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def softmax(values: list[float]) -> list[float]:
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def around(x: float, y: float, width: float, height: float, scores: list[float]) -> Candidate:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2, scores


def fastestdet(output: NDArray[Any], size: tuple[int, int]) -> list[Candidate]:
    """Decode [5 + C, rows, columns]: objectness, dx, dy, w, h, classes; score = obj^0.6 · cls^0.4."""
    _, rows, columns = output.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            obj, dx, dy, w, h, *classes = (float(value) for value in output[:, row, column])
            x = (column + math.tanh(dx)) / columns * size[1]
            y = (row + math.tanh(dy)) / rows * size[0]
            scores = [obj**0.6 * cls**0.4 for cls in classes]
            found.append(around(x, y, sigmoid(w) * size[1], sigmoid(h) * size[0], scores))
    return found


def yolov3(output: NDArray[Any], size: tuple[int, int], anchors: list[tuple[float, float]]) -> list[Candidate]:
    """Decode [A · (5 + C), rows, columns] of one feature map; anchors in pixels."""
    _, rows, columns = output.shape
    split = output.reshape(len(anchors), -1, rows, columns)
    found = []
    for row in range(rows):
        for column in range(columns):
            for number, (width, height) in enumerate(anchors):
                tx, ty, tw, th, obj, *classes = (float(value) for value in split[number, :, row, column])
                x = (sigmoid(tx) + column) / columns * size[1]
                y = (sigmoid(ty) + row) / rows * size[0]
                scores = [sigmoid(obj) * sigmoid(cls) for cls in classes]
                found.append(around(x, y, width * math.exp(tw), height * math.exp(th), scores))
    return found


def yolov5_raw(output: NDArray[Any], size: tuple[int, int], anchors: list[tuple[float, float]]) -> list[Candidate]:
    """Decode [A, rows, columns, 5 + C] of one feature map before decoding; anchors in pixels."""
    _, rows, columns, _ = output.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            for number, (width, height) in enumerate(anchors):
                tx, ty, tw, th, obj, *classes = (sigmoid(float(value)) for value in output[number, row, column])
                x = (2 * tx - 0.5 + column) / columns * size[1]
                y = (2 * ty - 0.5 + row) / rows * size[0]
                scores = [obj * cls for cls in classes]
                found.append(around(x, y, width * (2 * tw) ** 2, height * (2 * th) ** 2, scores))
    return found


def yolox(output: NDArray[Any], size: tuple[int, int], strides: list[int]) -> list[Candidate]:
    """Decode [cells, 5 + C], the feature maps one after the other."""
    found = []
    rows_of_output = iter(output)
    for stride in strides:
        for row in range(size[0] // stride):
            for column in range(size[1] // stride):
                dx, dy, w, h, obj, *classes = (float(value) for value in next(rows_of_output))
                scores = [obj * cls for cls in classes]
                x, y = (column + dx) * stride, (row + dy) * stride
                found.append(around(x, y, math.exp(w) * stride, math.exp(h) * stride, scores))
    return found


def fcos(boxes: NDArray[Any], scores: NDArray[Any], size: tuple[int, int]) -> list[Candidate]:
    """Decode [4, rows, columns] distances in cells (exp) from each cell's middle, and [C, rows, columns] logits."""
    _, rows, columns = boxes.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            left, top, right, bottom = (math.exp(float(value)) for value in boxes[:, row, column])
            classes = [sigmoid(float(value)) for value in scores[:, row, column]]
            across, down = size[1] / columns, size[0] / rows
            x, y = (column + 0.5) * across, (row + 0.5) * down
            found.append((x - left * across, y - top * down, x + right * across, y + bottom * down, classes))
    return found


def ssd(
    boxes: NDArray[Any], scores: NDArray[Any], size: tuple[int, int], anchors: list[list[float]]
) -> list[Candidate]:
    """Decode [A, 4] offsets (variances 0.1 and 0.2) and [A, 1 + C] logits, background first."""
    found = []
    for (cx, cy, width, height), raw, logits in zip(anchors, boxes, scores, strict=True):
        x = cx + float(raw[0]) * 0.1 * width
        y = cy + float(raw[1]) * 0.1 * height
        w = width * math.exp(float(raw[2]) * 0.2)
        h = height * math.exp(float(raw[3]) * 0.2)
        classes = softmax([float(value) for value in logits])[1:]
        found.append(around(x * size[1], y * size[0], w * size[1], h * size[0], classes))
    return found


def best(candidates: list[Candidate], threshold: float) -> list[tuple[NDArray[Any], float, int]]:
    """Take the best class of each candidate over the threshold, best first."""
    found = []
    for left, top, right, bottom, scores in candidates:
        class_ = int(np.argmax(scores))
        if scores[class_] >= threshold:
            found.append((np.array([left, top, right, bottom]), scores[class_], class_))
    return sorted(found, key=lambda entry: -entry[1])

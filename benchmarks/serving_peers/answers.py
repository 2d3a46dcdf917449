"""Answers of the peers: decode, run, decode, with numpy, Pillow and ONNX Runtime only.

The peers' environments import this file alone, so that all of them do the same work; it must not import the project.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]

_SCORE, _IOU = np.float32(0.3), 0.45
_TOP = 5


class Answerer:
    """Answers requests to one model in one thread.

    Args:
        model: The ONNX file.
        case: JSON with `kind` (`boxes`, `classes` or `image`), and for images `size` [height, width], `scale`, `mean`
            and `std`.
    """

    def __init__(self, model: str | Path, case: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._case = json.loads(case)
        mean, std, scale = (np.array(self._case[name], np.float64) for name in ("mean", "std", "scale"))
        pixels = np.arange(256) * scale
        self._table = ((pixels - mean.reshape(-1, 1)) / std.reshape(-1, 1)).astype(np.float32)
        self._table = np.broadcast_to(self._table, (3, 256))

    def image(self, content: bytes | Image.Image) -> dict[str, Any] | bytes:
        """Return the answer to an image, a file or opened: a document for JSON, or a PNG."""
        if isinstance(content, bytes):
            with Image.open(io.BytesIO(content)) as file:
                return self.image(file)
        if self._case["kind"] != "image":
            height, width = self._case["size"]
            return self._document(self._run(self._values(content)), (content.width / width, content.height / height))
        stream = io.BytesIO()
        self.translated(content).save(stream, "png")
        return stream.getvalue()

    def translated(self, image: Image.Image) -> Image.Image:
        """Return the translation of an image of the size of the generator's input."""
        output = self._run(self._values(image))[0]
        pixels = np.clip(np.rint((output * np.float32(0.5) + np.float32(0.5)) * np.float32(255)), 0, 255)
        return Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8))

    def tensor(self, values: Any) -> dict[str, Any]:
        """Return the answer to an input of the model, as nested lists or an array."""
        return self._document(self._run(np.asarray(values, np.float32)), (1, 1))

    def _values(self, image: Image.Image) -> Array:
        """Return an image as the model's input, stretched to its size."""
        height, width = self._case["size"]
        image = image if image.mode == "RGB" else image.convert("RGB")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels, values = np.asarray(image), np.empty((1, 3, height, width), np.float32)
        for channel in range(3):
            np.take(self._table[channel], pixels[..., channel], out=values[0, channel], mode="clip")
        return values

    def _run(self, values: Array) -> Array:
        return np.asarray(self._session.run(None, {self._input: values})[0])

    def _document(self, output: Array, scale: tuple[float, float]) -> dict[str, Any]:
        if self._case["kind"] == "classes":
            return {"predictions": [classes(row) for row in output]}
        return {"detections": [boxes(output[0], self._case["size"], scale)]}


def classes(logits: Array) -> dict[str, Any]:
    """Return the most likely classes of one sample."""
    powers = np.exp(logits.astype(np.float64) - logits.max())
    scores = powers / powers.sum()
    order = np.argsort(-scores, kind="stable")[:_TOP]
    return {"top": [{"index": int(index), "score": float(scores[index])} for index in order]}


def boxes(output: Array, size: tuple[int, int], scale: tuple[float, float]) -> list[dict[str, Any]]:
    """Decode FastestDet's output of one image.

    Args:
        output: float32 [5 + classes, rows, columns]: objectness, box, class scores.
        size: Height and width of the model's input.
        scale: Pixels of the image per pixel of the input, in x and y.
    """
    _, rows, columns = output.shape
    values = output.reshape(len(output), -1).T
    best = values[:, 5:].argmax(axis=1)
    scores = values[:, 0] ** np.float32(0.6) * values[np.arange(len(values)), 5 + best] ** np.float32(0.4)
    valid = np.flatnonzero(scores >= _SCORE)
    values, scores, best = values[valid], scores[valid], best[valid]
    corner = np.stack([valid % columns / columns, valid // columns / rows], axis=1)
    center = corner + np.tanh(values[:, 1:3]) / [columns, rows]
    half = 1 / (1 + np.exp(-values[:, 3:5])) / 2
    sides = np.array([size[1] * scale[0], size[0] * scale[1]])
    found = np.concatenate([np.clip(center - half, 0, 1) * sides, np.clip(center + half, 0, 1) * sides], axis=1)
    # Overlaps are those before clipping, in fractions of the input.
    kept = suppress(np.concatenate([center - half, center + half], axis=1), scores, best)
    return [{"index": int(best[index]), "score": float(scores[index]), "box": found[index].tolist()} for index in kept]


def suppress(corners: Array, scores: Array, labels: Array) -> list[int]:
    """Return the indices that greedy non-maximum suppression within each class keeps, best first."""
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    order, kept = np.argsort(-scores, kind="stable"), []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(int(first))
        sides = np.minimum(corners[first, 2:], corners[rest, 2:]) - np.maximum(corners[first, :2], corners[rest, :2])
        shared = np.clip(sides, 0, None).prod(axis=1)
        overlap = shared / (areas[first] + areas[rest] - shared)
        order = rest[(overlap <= _IOU) | (labels[rest] != labels[first])]
    return kept

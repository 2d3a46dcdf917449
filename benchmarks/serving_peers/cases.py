"""What is served: models, requests, and answers in a form that can be compared."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.preprocessing import Preprocessing
from faceter.vision.preprocess import preprocess

Array = NDArray[np.float64]

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
_BOUNDARY: Final = "faceter-serving-benchmark"
_TOLERANCE: Final = 1e-4
_SIDE: Final = 256


@dataclass(frozen=True)
class ServingCase:
    """A model, and the kind of requests it gets."""

    name: str
    """As in the table."""
    model: str
    """Name of the model file in the work folder."""
    kind: Literal["boxes", "classes", "image"]
    """What the answer holds."""
    preprocessing: dict[str, Any]
    """Preprocessing, as in Faceter's metadata."""
    source: Callable[[], bytes]
    """Returns the image file that is sent."""
    tensor: bool = False
    """Whether the image is sent as the model's input, in JSON."""
    most_clients: int = 128
    """Most clients; with more, a request would wait for longer than a round takes."""
    patience: int = 1
    """Factor on the seconds of a round."""

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata for the upload to Faceter."""
        if self.kind == "image":
            return {"task": "image_translation", "preprocessing": self.preprocessing}
        task = "object_detection" if self.kind == "boxes" else "image_classification"
        detection = {"detection": {"preset": "fastestdet"}} if self.kind == "boxes" else {}
        return {"task": task, "preprocessing": self.preprocessing, **detection}

    def settings(self) -> str:
        """Return what the peers and the bare loop have to know, as JSON."""
        values = {"scale": 1 / 255, "mean": [0.0], "std": [1.0], **self.preprocessing}
        return json.dumps({"kind": self.kind, **values})

    def values(self) -> NDArray[np.float32]:
        """Return the model's input for the image, float32 [1, 3, H, W]."""
        with Image.open(io.BytesIO(self.source())) as image:
            return preprocess(image.convert("RGB"), Preprocessing.model_validate(self.preprocessing))[0][None]


@dataclass(frozen=True)
class HttpRequest:
    """A request with POST."""

    path: str
    """Path of the URL."""
    media_type: str
    """Media type of the body."""
    body: bytes
    """Body."""


def form(path: str, content: bytes) -> HttpRequest:
    """Return a request with an image file in the field `file` of a form."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="image.jpg"\r\n'
    body = f"{head}Content-Type: {media_type(content)}\r\n\r\n".encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return HttpRequest(path, f"multipart/form-data; boundary={_BOUNDARY}", body)


def document(path: str, content: object) -> HttpRequest:
    """Return a request with JSON."""
    return HttpRequest(path, "application/json", json.dumps(content).encode())


def media_type(content: bytes) -> str:
    """Return the media type of an image file, JPEG or PNG."""
    return "image/jpeg" if content.startswith(b"\xff\xd8") else "image/png"


def comparable(case: ServingCase, answer: dict[str, Any] | bytes) -> Array:
    """Return an answer as numbers: a row for each box or class, or pixels."""
    if case.kind == "image":
        assert isinstance(answer, bytes)
        with Image.open(io.BytesIO(answer)) as image:
            return np.asarray(image, np.float64)
    found = json.loads(answer) if isinstance(answer, bytes) else answer
    if case.kind == "classes":
        return np.array([[item["index"], item["score"]] for item in found["predictions"][0]["top"]])
    return np.array([[item["index"], item["score"], *item["box"]] for item in found["detections"][0]])


def equal(case: ServingCase, expected: Array, found: Array) -> bool:
    """Whether two answers agree: within 1e-4, relative to values above 1; pixels within one value."""
    if expected.shape != found.shape:
        return False
    if case.kind == "image":
        return bool((np.abs(expected - found) <= 1).all())
    return bool((np.abs(expected - found) <= _TOLERANCE * np.maximum(1, np.abs(expected))).all())


@cache
def _member(archive: str, name: str) -> bytes:
    with zipfile.ZipFile(SHARED / archive) as opened:
        return opened.read(name)


def _indoor() -> bytes:
    return _member("detection/indoor.zip", "images/2007_000027.jpg")


def _cifar() -> bytes:
    return _member("cifar10/test.zip", "airplane/0000.jpg")


@cache
def _square() -> bytes:
    """Return the indoor image at the generator's size, as PNG."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(_indoor())) as image:
        image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR).save(stream, "png")
    return stream.getvalue()


_DETECTOR: Final = {"size": [352, 352], "scale": 1 / 255}
_CLASSIFIER: Final = {"size": [32, 32], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_GENERATOR: Final = {"size": [_SIDE, _SIDE], "mean": [0.5], "std": [0.5]}

CASES: Final = (
    ServingCase("fastestdet", "fastestdet.onnx", "boxes", _DETECTOR, _indoor),
    ServingCase("resnet20", "resnet20.onnx", "classes", _CLASSIFIER, _cifar),
    ServingCase("resnet20-tensor", "resnet20.onnx", "classes", _CLASSIFIER, _cifar, tensor=True),
    ServingCase("fastestdet-w8a8", "fastestdet-w8a8.onnx", "boxes", _DETECTOR, _indoor),
    ServingCase("resnet20-w8a8", "resnet20-w8a8.onnx", "classes", _CLASSIFIER, _cifar),
    ServingCase("generator", "generator.onnx", "image", _GENERATOR, _square, most_clients=32, patience=6),
)
"""Every case."""

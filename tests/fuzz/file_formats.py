"""Files of every format that the API takes, and the request that sends one."""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
from PIL import Image

from tests.app.dataset_archives import concepts, domains
from tests.app.translator_fixtures import GENERATOR_METADATA
from tests.app.uploads import add_model, archive, detection, image, images, npz
from tests.datasets.archives import zip_bytes
from tests.engines import graphs
from tests.text.networks import classifier_metadata, tokenizer_file, trained_classifier
from tests.translation import generators
from tests.workers.explanation import scenes

Sender = Callable[[httpx.Client, bytes], httpx.Response]

_IMAGE_FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
_CIFAR_IMAGES: Final = 8
_PHOTO_SIDES: Final = (96, 72)


@dataclass(frozen=True)
class FileFormat:
    """A format of files, and where they are sent."""

    name: str
    """In reports."""
    files: list[bytes]
    """Sound files, which the API accepts."""
    send: Sender
    """Sends a file."""
    in_zip: bool = False
    """Whether the file is a zip archive, so that its members can be damaged too."""


def file_formats(client: httpx.Client, shared_data: Path | None) -> list[FileFormat]:
    """Return all formats.

    Args:
        client: Of the service that gets the files; the models that images are sent to are uploaded there.
        shared_data: Folder of real models and photographs, if it is there.
    """
    classifier, generator = (
        add_model(client)["id"],
        add_model(client, generators.inverter(), metadata=GENERATOR_METADATA),
    )
    translator = client.post("/v1/translators", json={"a2b_id": generator["id"]}).json()["id"]
    predict, translate = f"/v1/models/{classifier}/predict", f"/v1/translators/{translator}/translate"
    infer = f"/v2/models/{classifier}/infer"
    photo = _photo(shared_data)
    return [
        FileFormat("ONNX", [graphs.classifier(), graphs.adder(), *_real_models(shared_data)], _model),
        FileFormat("tokenizer", [tokenizer_file()], _tokenizer),
        *(_dataset(kind, files) for kind, files in _datasets(shared_data).items()),
        *(FileFormat(f"predict {form}", _saved(photo, form), _body(predict, "image/png")) for form in _IMAGE_FORMATS),
        *(
            FileFormat(f"translate {form}", _saved(photo, form), _body(translate, "image/png"))
            for form in _IMAGE_FORMATS
        ),
        FileFormat("predict JSON", [_tensors()], _body(predict, "application/json")),
        FileFormat("infer JSON", [_protocol_tensors()], _body(infer, "application/json")),
        FileFormat("infer binary", [_binary_tensors()], _binary(infer)),
    ]


def members_of(content: bytes) -> dict[str, bytes]:
    """Return the members of a sound archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def with_members(members: Mapping[str, bytes]) -> bytes:
    """Return an archive of these members."""
    return zip_bytes(members)


def _datasets(shared_data: Path | None) -> dict[str, list[bytes]]:
    random = np.random.default_rng(0)
    waves = random.normal(size=(3, 1, 16)).astype(np.float32)
    labels = {"labels": np.array([0, 1, 0]), "classes": np.array(["a", "b"])}
    return {
        "images": [images(["cat", "dog"]), *_real_images(shared_data)],
        "detection": [detection(["a", "b"])],
        "signals": [npz(signals=waves, **labels)],
        "tensors": [npz(image=waves, **labels)],
        "features": [npz(features=waves[:, 0], **labels)],
        "concepts": [concepts()],
        "text_pairs": [scenes.sentences(3)],
        "texts": [b'{"text": "a dog runs", "label": "dog"}\n{"text": "a cat sits", "label": "cat"}\n'],
        "domains": [domains()],
    }


def _dataset(kind: str, files: list[bytes]) -> FileFormat:
    def send(client: httpx.Client, content: bytes) -> httpx.Response:
        return client.post("/v1/datasets", files={"file": ("set", content)}, data={"kind": kind})

    return FileFormat(f"dataset {kind}", files, send, in_zip=kind != "texts")


def _model(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.post("/v1/models", files={"file": ("model.onnx", content)})


def _tokenizer(client: httpx.Client, content: bytes) -> httpx.Response:
    model = trained_classifier().SerializeToString()
    files = {"file": ("model.onnx", model), "tokenizer": ("tokenizer.json", content)}
    return client.post("/v1/models/check", files=files, data={"metadata": classifier_metadata().model_dump_json()})


def _body(url: str, media_type: str) -> Sender:
    def send(client: httpx.Client, content: bytes) -> httpx.Response:
        return client.post(url, content=content, headers={"Content-Type": media_type})

    return send


def _binary(url: str) -> Sender:
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(_HEADER))}

    def send(client: httpx.Client, content: bytes) -> httpx.Response:
        return client.post(url, content=content, headers=headers)

    return send


_VALUES: Final = np.full((1, 3, 8, 8), 0.5, np.float32)
_INPUT: Final[dict[str, Any]] = {"name": "image", "datatype": "FP32", "shape": [1, 3, 8, 8]}
_HEADER: Final = json.dumps({"inputs": [{**_INPUT, "parameters": {"binary_data_size": _VALUES.nbytes}}]}).encode()


def _tensors() -> bytes:
    return json.dumps({"inputs": {"image": _VALUES.tolist()}}).encode()


def _protocol_tensors() -> bytes:
    return json.dumps({"inputs": [{**_INPUT, "data": _VALUES.ravel().tolist()}]}).encode()


def _binary_tensors() -> bytes:
    return _HEADER + _VALUES.tobytes()


def _real_models(shared_data: Path | None) -> list[bytes]:
    return [] if shared_data is None else [(shared_data / "detection" / "fastestdet.onnx").read_bytes()]


def _real_images(shared_data: Path | None) -> list[bytes]:
    """Return an archive of a few real images in class folders."""
    if shared_data is None:
        return []
    with zipfile.ZipFile(shared_data / "cifar10" / "test.zip") as file:
        names = [name for name in file.namelist() if name.endswith(".jpg")][:: 5000 // _CIFAR_IMAGES]
        return [archive({name: file.read(name) for name in names})]


def _photo(shared_data: Path | None) -> Image.Image:
    """Return a small photograph, or noise."""
    if shared_data is None:
        return Image.open(io.BytesIO(image(size=_PHOTO_SIDES)))
    with zipfile.ZipFile(shared_data / "detection" / "indoor.zip") as file:
        name = next(name for name in file.namelist() if name.endswith(".jpg"))
        return Image.open(io.BytesIO(file.read(name))).resize(_PHOTO_SIDES)


def _saved(photo: Image.Image, form: str) -> list[bytes]:
    """Return a photograph as files: plain, and as an animation or with many pages where the format has them."""
    plain, moving = io.BytesIO(), io.BytesIO()
    photo.save(plain, form)
    if form not in ("WEBP", "TIFF", "GIF"):
        return [plain.getvalue()]
    photo.save(moving, form, save_all=True, append_images=[photo.rotate(90), photo.rotate(180)])
    return [plain.getvalue(), moving.getvalue()]

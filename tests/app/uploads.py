"""Small files, and their upload."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.engines import graphs

LABELS = ["cat", "dog", "emu"]

METADATA: dict[str, Any] = {
    "task": "image_classification",
    "preprocessing": {"size": [8, 8], "mean": [0.5], "std": [0.25]},
    "labels": LABELS,
}


def image(seed: int = 0, size: tuple[int, int] = (12, 10), form: str = "PNG") -> bytes:
    """Return an image of seeded noise as a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def archive(entries: Mapping[str, bytes]) -> bytes:
    """Return a zip of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zip_file:
        for name, content in entries.items():
            zip_file.writestr(name, content)
    return file.getvalue()


def images(classes: list[str] | None = None, each: int = 2) -> bytes:
    """Return an `images` dataset: some images of each class, or without folders."""
    folders = [f"{name}/" for name in classes] if classes else [""]
    return archive({f"{folder}{i}.png": image(i) for folder in folders for i in range(each)})


def detection(classes: list[str]) -> bytes:
    """Return a `detection` dataset of one image with a box of each class."""
    annotations = {
        "images": [{"id": 1, "file_name": "a.png", "width": 12, "height": 10}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, start=1)],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": i, "bbox": [1, 1, 4, 4]} for i in range(1, len(classes) + 1)
        ],
    }
    return archive({"images/a.png": image(), "annotations.json": json.dumps(annotations).encode()})


def post_model(
    api: httpx.Client,
    content: bytes | None = None,
    *,
    metadata: object = METADATA,
    name: str | None = "tiny",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Upload a model; by default `classifier()` with `METADATA`."""
    fields = {} if name is None else {"name": name}
    if metadata is not None:
        fields["metadata"] = metadata if isinstance(metadata, str) else json.dumps(metadata)
    file = ("tiny.onnx", graphs.classifier() if content is None else content)
    return api.post("/v1/models", files={"file": file}, data=fields, headers=headers)


def add_model(api: httpx.Client, content: bytes | None = None, **fields: Any) -> dict[str, Any]:
    """Upload a valid model, and return it."""
    response = post_model(api, content, **fields)
    assert response.status_code == 201, response.text
    model: dict[str, Any] = response.json()
    return model


def stored_blobs(folder: Path) -> list[Path]:
    """Return the blobs in a folder, without the file that says whose they are."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "owner"]


def post_dataset(api: httpx.Client, content: bytes, kind: str = "images", **fields: str) -> httpx.Response:
    """Upload a dataset."""
    return api.post("/v1/datasets", files={"file": ("set.zip", content)}, data={"kind": kind, **fields})


def add_dataset(api: httpx.Client, content: bytes, kind: str = "images", **fields: str) -> dict[str, Any]:
    """Upload a valid dataset, and return it."""
    response = post_dataset(api, content, kind, **fields)
    assert response.status_code == 201, response.text
    dataset: dict[str, Any] = response.json()
    return dataset


def npz(**arrays: Any) -> bytes:
    """Return arrays as an `.npz` file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()

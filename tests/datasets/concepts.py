"""Makes datasets of concepts, good and bad."""

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike
from PIL import Image

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import image, write_zip

SETTINGS = Settings(_env_file=None)
SIZE = (4, 3)
"""Width and height of the small images."""
NAMES = {"object": ["sky", "road", "car"], "part": ["wheel"], "scene": ["day", "dusk"]}
CSV = "image,category,concept\na,scene,day\ntown/b,scene,dusk\n"

A = np.array([[0, 1, 2, 3], [1, 1, 2, 2], [0, 0, 0, 3]])
B = np.zeros((3, 4), np.int64)
WHEELS = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])


def gray(values: ArrayLike, dtype: Any = np.uint8) -> bytes:
    """Return a label file of one channel."""
    return saved(Image.fromarray(np.asarray(values, dtype)))


def saved(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def palette(values: ArrayLike, bits: int, **options: Any) -> bytes:
    """Return a label file with colours for its numbers, of which many are equal."""
    image = Image.fromarray(np.asarray(values, np.uint8)).convert("P")
    image.putpalette([200, 0, 0, 9, 9, 9] * 8)
    return saved(image, bits=bits, **options)


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    """Return a PNG, chunk by chunk."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check_sum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check_sum

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def members(names: Any = None, csv: str | bytes | None = CSV, **changes: bytes | None) -> dict[str, bytes]:
    """Return the members of a small archive, with changes; `object_a` is `labels/object/a.png`."""
    content = names if isinstance(names, bytes) else json.dumps(NAMES if names is None else names).encode()
    found: dict[str, bytes | None] = {
        "concepts.json": content,
        "image_labels.csv": csv.encode() if isinstance(csv, str) else csv,
        "images/a.png": changes.pop("a", image(size=SIZE)),
        "images/town/b.jpg": changes.pop("b", image(size=SIZE, format_="JPEG")),
        "labels/object/a.png": changes.pop("object_a", gray(A)),
        "labels/object/town/b.png": changes.pop("object_b", gray(B)),
        "labels/part/a.png": changes.pop("part_a", gray(WHEELS, np.uint16)),
        "labels/part/town/b.png": changes.pop("part_b", gray(B)),
    }
    assert not changes
    return {name: content for name, content in found.items() if content is not None}


def opened(path: Path, content: dict[str, bytes] | None = None, settings: Settings = SETTINGS) -> ConceptsDataset:
    return ConceptsDataset.open(write_zip(path / "a.zip", members() if content is None else content), settings)


def warnings(path: Path, content: dict[str, bytes]) -> list[str]:
    return verify_dataset(write_zip(path / "a.zip", content), DatasetKind.CONCEPTS, SETTINGS).warnings


def refused(path: Path, content: dict[str, bytes], settings: Settings = SETTINGS) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", content), DatasetKind.CONCEPTS, settings)
    assert caught.value.kind is ProblemKind.INVALID_DATASET, caught.value.detail
    return caught.value.detail

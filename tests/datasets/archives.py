"""Makes archives, good and bad."""

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def image(color: str = "red", size: tuple[int, int] = (40, 30), format_: str = "PNG") -> bytes:
    """Return an image file of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, color).save(stream, format_)
    return stream.getvalue()


def zip_bytes(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive; names are taken as they are, however bad."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            entry = zipfile.ZipInfo("placeholder")
            entry.filename = name
            entry.compress_type = method
            archive.writestr(entry, content)
    return stream.getvalue()


def raw_zip(members: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
    """Return a zip archive whose names are bytes of no stated encoding, as old programs write them.

    Args:
        members: Name, content and extra fields of each.
    """
    stream = io.BytesIO()
    placeholders = [f"{number:04}".ljust(len(name), "x")[: len(name)] for number, (name, _, _) in enumerate(members)]
    with zipfile.ZipFile(stream, "w") as archive:
        for placeholder, (_, content, extra) in zip(placeholders, members, strict=True):
            entry = zipfile.ZipInfo(placeholder)
            entry.extra = extra
            archive.writestr(entry, content)
    written = stream.getvalue()
    for placeholder, (name, _, _) in zip(placeholders, members, strict=True):
        assert len(name) >= 4
        written = written.replace(placeholder.encode(), name)
    return written


def unicode_path(name: bytes, path: str) -> bytes:
    """Return Info-ZIP's extra field with the path of a member of that name."""
    content = struct.pack("<BL", 1, zlib.crc32(name)) + path.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


def write_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write a zip archive and return its path."""
    path.write_bytes(zip_bytes(members))
    return path


def coco(**changes: Any) -> dict[str, Any]:
    """Return annotations of two images of 40 × 30 pixels with three boxes of two categories, changed as fractions."""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 8, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "categories": [{"id": 3, "name": "sofa"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 0, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 20], "area": 150, "iscrowd": 0},
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 30], "iscrowd": 1},
            {"id": 2, "image_id": 8, "category_id": 3, "bbox": [5.5, 5.5, 10, 10]},
        ],
        **changes,
    }


def detection_members(annotations: Any = None) -> dict[str, bytes]:
    """Return the members of a small detection archive."""
    content = coco() if annotations is None else annotations
    return {
        "annotations.json": content if isinstance(content, bytes) else json.dumps(content).encode(),
        "images/a.png": image("red"),
        "images/b.png": image("blue"),
    }


def npz(path: Path, *, compressed: bool = True, **arrays: Any) -> Path:
    """Write arrays as numpy does."""
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    file = path / "a.npz"
    save(file, **arrays)
    return file

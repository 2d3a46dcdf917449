"""Reads ``annotations.json`` in COCO format: images, categories and boxes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from faceter.contracts.json_text import NotJsonError, read_json
from faceter.datasets.errors import invalid_dataset
from faceter.vision.boxes import FloatArray, IntArray

ANNOTATIONS = "annotations.json"

Entries = Sequence[dict[str, Any]]

_COORDINATE_LIMIT = 1e9
"""Absolute values of coordinates must be below; excludes what is not finite."""
_MAX_PROBLEMS = 5


@dataclass(frozen=True)
class GroundTruth:
    """The annotated boxes of one image."""

    boxes: FloatArray
    """float64 [n, 4]: left, top, right, bottom, in the image's pixels."""
    classes: IntArray
    """int64 [n]: positions in the dataset's classes."""
    areas: FloatArray
    """float64 [n]: area in square pixels, which COCO's size classes depend on."""
    crowd: IntArray
    """int64 [n]: 1 where one box stands for a crowd, which is ignored in matching."""


def read_annotations(content: bytes) -> dict[str, list[dict[str, Any]]]:
    """Return the lists ``images``, ``annotations`` and ``categories``, none of them empty.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    try:
        document = read_json(content)
    except NotJsonError as error:
        raise invalid_dataset(f"{ANNOTATIONS} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise invalid_dataset(f"{ANNOTATIONS} must be an object with images, annotations and categories, as in COCO.")
    for part in ("images", "annotations", "categories"):
        entries = document.get(part)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise invalid_dataset(f"{ANNOTATIONS} needs a list of objects '{part}', as in COCO.")
        if not entries:
            raise invalid_dataset(f"The list '{part}' of {ANNOTATIONS} is empty.")
    return document


def _raise_if_any(problems: Iterator[str]) -> None:
    details = list(problems)
    if details:
        more = f" And {len(details) - _MAX_PROBLEMS} more." if len(details) > _MAX_PROBLEMS else ""
        raise invalid_dataset(f"{ANNOTATIONS}: {'; '.join(details[:_MAX_PROBLEMS])}.{more}")


def category_names(categories: Entries) -> dict[int, str]:
    """Return the names of categories by id, in the order of ids.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    _raise_if_any(_name_problems(categories, "a category", "name"))
    return dict(sorted((entry["id"], entry["name"]) for entry in categories))


def images_by_id(images: Entries) -> dict[int, dict[str, Any]]:
    """Return the entries of images by id, in their own order.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    _raise_if_any(_name_problems(images, "an image", "file_name"))
    return {entry["id"]: entry for entry in images}


def _name_problems(entries: Entries, entry_name: str, key: str) -> Iterator[str]:
    """Yield what is wrong with the ids and names of entries, which must be unique."""
    ids: set[int] = set()
    names: set[str] = set()
    for entry in entries:
        number, name = entry.get("id"), entry.get(key)
        if not _is_id(number) or not isinstance(name, str) or not name:
            yield f"{entry_name} needs a whole number 'id' and a '{key}', but is {_shown(entry)}"
            continue
        if number in ids or name in names:
            yield f"{entry_name.split()[1]} {number} '{name}' is there twice"
        ids.add(number)
        names.add(name)


def declared_size(entry: dict[str, Any]) -> tuple[int, int] | None:
    """Return width and height of an image as annotated; None if they are not."""
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def ground_truths(annotations: Entries, image_ids: Sequence[int], category_ids: Sequence[int]) -> list[GroundTruth]:
    """Return the boxes of each image.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first annotations at fault.
    """
    images = {number: position for position, number in enumerate(image_ids)}
    classes = {number: position for position, number in enumerate(category_ids)}
    _raise_if_any(_annotation_problems(annotations, images, classes))
    grouped: list[list[dict[str, Any]]] = [[] for _ in image_ids]
    for entry in annotations:
        grouped[images[entry["image_id"]]].append(entry)
    return [_ground_truth(entries, classes) for entries in grouped]


def _annotation_problems(annotations: Entries, images: dict[int, int], classes: dict[int, int]) -> Iterator[str]:
    ids: set[int] = set()
    for position, entry in enumerate(annotations):
        number = entry.get("id", position)
        if not _is_id(number):
            yield f"an annotation's 'id' must be a whole number, but is {_shown(number)}"
            continue
        if number in ids:
            yield f"annotation {number} is there twice"
        ids.add(number)
        if not _is_id(entry.get("image_id")) or entry["image_id"] not in images:
            yield f"annotation {number} is of image {_shown(entry.get('image_id'))}, which is not listed"
        if not _is_id(entry.get("category_id")) or entry["category_id"] not in classes:
            yield f"annotation {number} is of category {_shown(entry.get('category_id'))}, which is not listed"
        if not _is_box(entry.get("bbox")):
            yield (
                f"annotation {number} has the impossible bbox {_shown(entry.get('bbox'))} "
                "(left, top, width and height, the last two over 0)"
            )


def _ground_truth(entries: Entries, classes: dict[int, int]) -> GroundTruth:
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    own_areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    areas = [
        entry["area"] if _is_number(entry.get("area")) else own for entry, own in zip(entries, own_areas, strict=True)
    ]
    return GroundTruth(
        boxes=boxes,
        classes=np.array([classes[entry["category_id"]] for entry in entries], np.int64),
        areas=np.array(areas, np.float64),
        crowd=np.array([1 if entry.get("iscrowd") else 0 for entry in entries], np.int64),
    )


def _is_id(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _COORDINATE_LIMIT


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(_is_number(part) for part in value):
        return False
    return bool(value[2] > 0 and value[3] > 0)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"

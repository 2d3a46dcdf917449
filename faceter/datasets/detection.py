"""Datasets of kind ``detection``: a zip with ``images/`` and ``annotations.json`` in COCO format."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.image_dataset import ImageDataset
from faceter.datasets.images import split_images
from faceter.datasets.samples import DatasetSummary, first_few
from faceter.vision.boxes import FloatArray, IntArray

_ANNOTATIONS = "annotations.json"
_FOLDER = "images/"
_MAX_ANNOTATION_BYTES = 1 << 29
_OVERHANG = 2.0
"""Pixels a box may reach beyond its image, as boxes do that were rounded or scaled."""
_FARTHEST = 1e9
"""No coordinate, and nothing that is not finite, goes up to this."""
_SHOWN = 5

_SYNONYMS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "television": "tv",
    "tvmonitor": "tv",
}
"""PASCAL VOC's names of classes that COCO calls otherwise."""


@dataclass(frozen=True)
class GroundTruth:
    """The annotated boxes of one image."""

    boxes: FloatArray
    """float64 [n, 4]: left, top, right, bottom, in the image's pixels."""
    classes: IntArray
    """int64 [n]: positions in the dataset's classes."""
    areas: FloatArray
    """float64 [n]: area in square pixels, by which COCO tells small from large."""
    crowd: IntArray
    """int64 [n]: 1 where one box stands for a crowd, which counts neither for nor against a detector."""


class DetectionDataset(ImageDataset):
    """Photographs with boxes.

    Images come in the order of ``annotations.json``, classes in the order of their category ids.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first few images or annotations at fault.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        root = _root(archive)
        content = _parse(archive.read(root + _ANNOTATIONS, max_bytes=_MAX_ANNOTATION_BYTES))
        categories = _categories(content)
        self.classes = list(categories.values())
        images = _images(content)
        self.names = _member_names([entry["file_name"] for entry in images.values()], archive, root)
        self._declared = [_declared_size(entry) for entry in images.values()]
        self.truths = _ground_truths(content, list(images), list(categories))
        self._note_strangers(archive, root)

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Check an image's annotated size and boxes against the image.

        Raises:
            FaceterError: ``INVALID_DATASET`` if they contradict each other.
        """
        width, height = image.size
        declared = self._declared[index]
        name = self.names[index]
        if declared is not None and declared != image.size:
            raise _invalid(
                f"'{name}' is {width} × {height} pixels (upright), "
                f"but {_ANNOTATIONS} says {declared[0]} × {declared[1]}."
            )
        boxes = self.truths[index].boxes
        limits = np.array([width, height], np.float64) + _OVERHANG
        outside = (boxes[:, :2] < -_OVERHANG).any(axis=1) | (boxes[:, 2:] > limits).any(axis=1)
        outside |= (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2:] <= 0).any(axis=1)
        if outside.any():
            left, top, right, bottom = boxes[outside][0]
            bbox = [float(left), float(top), float(right - left), float(bottom - top)]
            raise _invalid(
                f"'{name}' is {width} × {height} pixels, but {int(outside.sum())} of its boxes reach outside it, "
                f"such as bbox {bbox} (left, top, width, height)."
            )

    def summary(self) -> DatasetSummary:
        """Say how many images there are, and how many boxes of each class."""
        counts = Counter(int(number) for truth in self.truths for number in truth.classes)
        return DatasetSummary(
            samples=len(self),
            classes=list(self.classes),
            class_counts={name: counts[number] for number, name in enumerate(self.classes) if counts[number]},
            notes=list(self.notes),
        )

    def sample_labels(self, model_labels: Sequence[str] | None) -> None:
        """Return None: boxes have classes, images have none."""

    def labels_for(self, model_labels: Sequence[str] | None) -> list[int]:
        """Return, for each class of the dataset, its position in the model's labels.

        Names are compared without regard to case, spaces, hyphens and underscores, and PASCAL VOC's names count as
        COCO's ("motorbike" is "motorcycle").

        Args:
            model_labels: The model's labels; without them classes keep their own numbers.

        Returns:
            One number per class; −1 for a class without boxes that the model does not know.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes with boxes that are none of the labels.
        """
        if model_labels is None:
            return list(range(len(self.classes)))
        exact = {label: number for number, label in reversed(list(enumerate(model_labels)))}
        alike = {_canonical(label): number for number, label in reversed(list(enumerate(model_labels)))}
        numbers = [exact.get(name, alike.get(_canonical(name), -1)) for name in self.classes]
        used = {int(number) for truth in self.truths for number in truth.classes}
        strangers = [name for number, name in enumerate(self.classes) if numbers[number] < 0 and number in used]
        if strangers:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Categories with boxes that are no labels of the model: {first_few(strangers)}. "
                f"Its labels are {first_few(list(model_labels))}.",
            )
        return numbers

    def _note_strangers(self, archive: SafeArchive, root: str) -> None:
        known = {*self.names, root + _ANNOTATIONS}
        strangers = [name for name in archive.names if name not in known]
        images, others = split_images(strangers)
        if images:
            self.notes.append(f"passed over, not in {_ANNOTATIONS}: {first_few(images)}")
        if others:
            self.notes.append(f"passed over, not images: {first_few(others)}")


def _invalid(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_DATASET, detail)


def _root(archive: SafeArchive) -> str:
    """Return the folder that holds everything, with a slash, or nothing."""
    if _ANNOTATIONS in archive:
        return ""
    tops = {name.split("/")[0] for name in archive.names}
    if len(tops) == 1 and (root := f"{tops.pop()}/") + _ANNOTATIONS in archive:
        return root
    raise _invalid(f"The archive holds no {_ANNOTATIONS}. Put it beside the folder {_FOLDER}, in COCO format.")


def _parse(content: bytes) -> dict[str, list[dict[str, Any]]]:
    try:
        document = read_json(content)
    except NotJsonError as error:
        raise _invalid(f"{_ANNOTATIONS} is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise _invalid(f"{_ANNOTATIONS} must be an object with images, annotations and categories, as in COCO.")
    for part in ("images", "annotations", "categories"):
        entries = document.get(part)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise _invalid(f"{_ANNOTATIONS} needs a list of objects '{part}', as in COCO.")
        if not entries:
            raise _invalid(f"The list '{part}' of {_ANNOTATIONS} is empty.")
    return document


def _raise_if_any(problems: Iterator[str]) -> None:
    found = list(problems)
    if found:
        more = f" And {len(found) - _SHOWN} more." if len(found) > _SHOWN else ""
        raise _invalid(f"{_ANNOTATIONS}: {'; '.join(found[:_SHOWN])}.{more}")


def _categories(content: dict[str, list[dict[str, Any]]]) -> dict[int, str]:
    """Return names of categories by id, in the order of ids."""

    def problems() -> Iterator[str]:
        ids: set[int] = set()
        names: set[str] = set()
        for entry in content["categories"]:
            number, name = entry.get("id"), entry.get("name")
            if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str) or not name:
                yield f"a category needs a whole number 'id' and a 'name', but is {_shown(entry)}"
                continue
            if number in ids or name in names:
                yield f"category {number} '{name}' is there twice"
            ids.add(number)
            names.add(name)

    _raise_if_any(problems())
    return dict(sorted((entry["id"], entry["name"]) for entry in content["categories"]))


def _images(content: dict[str, list[dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """Return the entries of images by id, in their own order."""

    def problems() -> Iterator[str]:
        ids: set[int] = set()
        names: set[str] = set()
        for entry in content["images"]:
            number, name = entry.get("id"), entry.get("file_name")
            if not isinstance(number, int) or isinstance(number, bool) or not isinstance(name, str) or not name:
                yield f"an image needs a whole number 'id' and a 'file_name', but is {_shown(entry)}"
                continue
            if number in ids or name in names:
                yield f"image {number} '{name}' is there twice"
            ids.add(number)
            names.add(name)

    _raise_if_any(problems())
    return {entry["id"]: entry for entry in content["images"]}


def _member_names(file_names: Sequence[str], archive: SafeArchive, root: str) -> list[str]:
    """Return the member of the archive that each file name stands for."""
    names: list[str] = []
    missing: list[str] = []
    for file_name in file_names:
        places = [root + _FOLDER + file_name, root + file_name]
        found = next((place for place in places if place in archive), None)
        if found is None:
            missing.append(file_name)
        else:
            names.append(found)
    if missing:
        raise _invalid(f"{_ANNOTATIONS} lists images that are not in {_FOLDER}: {first_few(missing)}.")
    return names


def _declared_size(entry: dict[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _ground_truths(
    content: dict[str, list[dict[str, Any]]], image_ids: Sequence[int], category_ids: Sequence[int]
) -> list[GroundTruth]:
    """Return the boxes of each image."""
    images = {number: position for position, number in enumerate(image_ids)}
    classes = {number: position for position, number in enumerate(category_ids)}
    annotations = content["annotations"]
    _raise_if_any(_annotation_problems(annotations, images, classes))
    grouped: list[list[dict[str, Any]]] = [[] for _ in image_ids]
    for entry in annotations:
        grouped[images[entry["image_id"]]].append(entry)
    return [_ground_truth(entries, classes) for entries in grouped]


def _annotation_problems(
    annotations: Sequence[dict[str, Any]], images: dict[int, int], classes: dict[int, int]
) -> Iterator[str]:
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


def _ground_truth(entries: Sequence[dict[str, Any]], classes: dict[int, int]) -> GroundTruth:
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


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FARTHEST


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(_is_number(part) for part in value):
        return False
    return bool(value[2] > 0 and value[3] > 0)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _canonical(name: str) -> str:
    folded = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    return _SYNONYMS.get(folded.replace(" ", ""), folded).replace(" ", "")

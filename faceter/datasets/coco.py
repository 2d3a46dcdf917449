"""Reads annotations in COCO format: images, categories, and boxes or the masks that they bound."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from faceter.contracts.base import composed
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.datasets.archive import SafeArchive
from faceter.datasets.detection_annotations import (
    AnnotatedImage,
    DetectionAnnotations,
    GroundTruth,
    ground_truth,
    is_coordinate,
    raise_problems,
)
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.file_references import FileReferences
from faceter.datasets.run_length import mask_extent

ANNOTATIONS: Final = "annotations.json"
"""Usual name of the file."""

IMAGES: Final = "images/"
"""Usual folder of the images, beside it."""

_MAX_BYTES: Final = 1 << 29
_PARTS: Final = ("images", "annotations", "categories")

Entry = Mapping[str, Any]
Id = int | str
"""An id. Texts of digits count as the whole numbers that they are."""


def read_coco(archive: SafeArchive, files: Sequence[str], images: FileReferences) -> DetectionAnnotations:
    """Return what files in COCO format say, joined if there are several.

    Images come in their order in the files; classes in the order of their category ids, where these are numbers.

    Args:
        archive: The archive.
        files: Names of the files.
        images: The images of the archive.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first few entries at fault.
    """
    parts = [_CocoFile(archive, file).read(images) for file in files]
    classes = list(dict.fromkeys(name for part in parts for name in part.classes))
    joined = [image for part in parts for image in _renumbered(part, classes)]
    sources: dict[str, str] = {}
    for image in joined:
        other = sources.setdefault(image.name, image.source)
        if other != image.source:
            raise invalid_dataset(f"'{image.name}' is annotated in '{other}' and in '{image.source}'. Leave one.")
    warnings = [warning for part in parts for warning in part.warnings]
    if len(files) > 1:
        warnings.append(f"read as parts of one set: {quoted_names(files)}")
    source = " and ".join(file.rpartition("/")[2] for file in files)
    return DetectionAnnotations(classes, joined, list(files), source, warnings)


class _CocoFile:
    """One file in COCO format.

    Args:
        archive: The archive.
        file: The file's name.
    """

    def __init__(self, archive: SafeArchive, file: str) -> None:
        self._file = file
        self._folder = file.removesuffix(file.rpartition("/")[2])
        self._name = file.removeprefix(self._folder)
        content = self._parsed(archive.read(file, max_bytes=_MAX_BYTES))
        self._entries = {part: content[part] for part in _PARTS}

    def read(self, images: FileReferences) -> DetectionAnnotations:
        """Return what it says.

        Args:
            images: The images of the archive.
        """
        names = self._names("categories", "a category", "name")
        if all(isinstance(key, int) for key in names):
            names = dict(sorted(names.items()))
        listed = self._names("images", "an image", "file_name")
        members, respelled = self._members(listed, images)
        truths = self._truths(list(listed), list(names))
        sizes = [_declared_size(entry) for entry in self._entries["images"]]
        return DetectionAnnotations(
            classes=list(names.values()),
            images=[
                AnnotatedImage(member, self._file, truth, size)
                for member, truth, size in zip(members, truths, sizes, strict=True)
            ],
            files=[self._file],
            source=self._name,
            warnings=respelled,
        )

    def _parsed(self, content: bytes) -> dict[str, list[Entry]]:
        try:
            document = read_json(content)
        except NotJsonError as error:
            raise invalid_dataset(f"{self._name} is not JSON: {error}.") from error
        if not isinstance(document, dict):
            raise invalid_dataset(
                f"{self._name} must be an object with images, annotations and categories, as in COCO."
            )
        for part in _PARTS:
            entries = document.get(part)
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise invalid_dataset(f"{self._name} needs a list of objects '{part}', as in COCO.")
            if not entries:
                raise invalid_dataset(f"The list '{part}' of {self._name} is empty.")
        return document

    def _names(self, part: str, entry_name: str, key: str) -> dict[Id, str]:
        """Return the names of entries by id, in the order of the file."""
        problems: list[str] = []
        names: dict[Id, str] = {}
        seen: set[str] = set()
        for entry in self._entries[part]:
            number, name = _id(entry.get("id")), entry.get(key)
            if number is None or not isinstance(name, str) or not name.strip():
                problems.append(
                    f"{entry_name} needs an 'id', a whole number or text, and a '{key}', but is {_shown(entry)}"
                )
                continue
            name = composed(name)
            if number in names or name in seen:
                problems.append(f"{entry_name.split()[1]} {number} '{name}' is there twice")
            names[number] = name
            seen.add(name)
        raise_problems(problems, self._name)
        return names

    def _members(self, listed: Mapping[Id, str], images: FileReferences) -> tuple[list[str], list[str]]:
        """Return the archive's name of each image, and what to warn of."""
        folders = (self._folder + IMAGES, self._folder)
        found = {name: images.find(name, folders) for name in listed.values()}
        missing = [name for name, member in found.items() if member is None]
        if missing:
            raise invalid_dataset(
                f"{self._name} lists images that are not in {IMAGES}: {quoted_names(missing)}. Add them there, or take "
                "them off the list."
            )
        members = [member for member in found.values() if member is not None]
        if len(set(members)) < len(members):
            twice = next(member for place, member in enumerate(members) if member in members[:place])
            raise invalid_dataset(f"{self._name} lists '{twice}' twice, by different names. List it once.")
        respelled = [name for name in found if name in images.respelled]
        warning = f"found in other upper and lower case than in {self._name}: {quoted_names(respelled)}"
        return members, [warning] if respelled else []

    def _truths(self, image_ids: Sequence[Id], category_ids: Sequence[Id]) -> list[GroundTruth]:
        """Return the boxes of each image."""
        positions = {number: position for position, number in enumerate(image_ids)}
        classes = {number: position for position, number in enumerate(category_ids)}
        grouped: list[list[_Annotation]] = [[] for _ in image_ids]
        problems: list[str] = []
        ids: set[Id] = set()
        for place, entry in enumerate(self._entries["annotations"]):
            annotation = _annotation(entry, place)
            problems += _problems(annotation, entry, positions, classes, ids)
            if not problems and annotation.image is not None:
                grouped[positions[annotation.image]].append(annotation)
        raise_problems(problems, self._name)
        return [_truth(annotations, classes) for annotations in grouped]


@dataclass(frozen=True)
class _Annotation:
    """An annotation with its ids and its box, None where they are missing or impossible."""

    id: Id | None
    image: Id | None
    category: Id | None
    box: list[float] | None
    """Left, top, width and height."""
    area: float | None
    is_crowd: bool


def _annotation(entry: Entry, place: int) -> _Annotation:
    """Return an annotation; without a box it has that around its mask."""
    box: Any = entry.get("bbox")
    area = entry.get("area")
    if not box and box != 0 and entry.get("segmentation"):
        extent = mask_extent(entry["segmentation"])
        box, own = extent if extent is not None else (None, None)
        area = own if area is None else area
    return _Annotation(
        id=_id(entry.get("id", place)),
        image=_id(entry.get("image_id")),
        category=_id(entry.get("category_id")),
        box=box if _is_box(box) else None,
        area=area if is_coordinate(area) else None,
        is_crowd=entry.get("iscrowd") in (1, True, "1"),
    )


def _problems(
    annotation: _Annotation, entry: Entry, images: Mapping[Id, int], classes: Mapping[Id, int], ids: set[Id]
) -> Iterator[str]:
    """Yield what is wrong with an annotation, and add its id to those seen."""
    number = annotation.id
    if number is None:
        yield f"an annotation's 'id' must be a whole number or text, but is {_shown(entry.get('id'))}"
        return
    if number in ids:
        yield f"annotation {number} is there twice"
    ids.add(number)
    if annotation.image not in images:
        yield f"annotation {number} is of image {_shown(entry.get('image_id'))}, which is not listed"
    if annotation.category not in classes:
        yield f"annotation {number} is of category {_shown(entry.get('category_id'))}, which is not listed"
    if annotation.box is None and entry.get("bbox") is None and entry.get("segmentation"):
        yield (
            f"annotation {number} has no bbox, and a segmentation that is empty or damaged, "
            f"{_shown(entry['segmentation'])}"
        )
    elif annotation.box is None:
        yield (
            f"annotation {number} has the impossible bbox {_shown(entry.get('bbox'))} "
            "(left, top, width and height, the last two over 0)"
        )


def _truth(annotations: Sequence[_Annotation], classes: Mapping[Id, int]) -> GroundTruth:
    boxes = [annotation.box for annotation in annotations if annotation.box is not None]
    return ground_truth(
        [(left, top, left + width, top + height) for left, top, width, height in boxes],
        [classes[annotation.category] for annotation in annotations if annotation.category is not None],
        [annotation.area for annotation in annotations],
        [annotation.is_crowd for annotation in annotations],
    )


def _renumbered(part: DetectionAnnotations, classes: Sequence[str]) -> Iterator[AnnotatedImage]:
    """Yield the images of a file with their classes as positions in those of all files."""
    numbers = np.array([classes.index(name) for name in part.classes], np.int64)
    for image in part.images:
        yield replace(image, truth=replace(image.truth, classes=numbers[image.truth.classes]))


def _declared_size(entry: Entry) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _id(value: Any) -> Id | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip():
        text = composed(value.strip())
        return int(text) if text.isascii() and text.isdigit() and len(text) < 100 else text
    return value if isinstance(value, int) else None


def _is_box(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 4 or not all(is_coordinate(part) for part in value):
        return False
    return bool(value[2] > 0 and value[3] > 0)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"

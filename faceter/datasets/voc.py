"""Reads annotations in the format of PASCAL VOC: an XML file for each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree.ElementTree import Element

from faceter.contracts.base import check_name, composed
from faceter.datasets.archive import SafeArchive
from faceter.datasets.detection_annotations import (
    AnnotatedImage,
    DetectionAnnotations,
    ground_truth,
    is_coordinate,
    raise_problems,
)
from faceter.datasets.file_references import FileReferences, stem
from faceter.datasets.xml_elements import read_xml

_ROOT: Final = "annotation"
_CORNERS: Final = ("xmin", "ymin", "xmax", "ymax")
_XML_FOLDERS: Final = frozenset({"annotation", "annotations", "labels", "xml", "xmls"})
_IMAGE_FOLDERS: Final = ("JPEGImages/", "images/")
_MAX_BYTES: Final = 1 << 24


@dataclass(frozen=True)
class _VocObject:
    """An object in an image."""

    name: str
    corners: tuple[float, ...]
    """Left, top, right and bottom, as in the file."""
    is_difficult: bool


@dataclass(frozen=True)
class _VocImage:
    """What a file says of its image."""

    file: str
    size: tuple[int, int] | None
    objects: list[_VocObject]


def read_voc(archive: SafeArchive, files: Sequence[str], images: Sequence[str]) -> DetectionAnnotations | None:
    """Return what XML files say of images; None if none of them is an annotation.

    Images come in the order of their XML files, classes in that of their names. Corners are pixels, counted from 1, the
    last of which is inside: 1 to W is the whole width. If a box of the dataset starts at 0, they are coordinates from 0
    to W. Difficult objects are ignored in matching.

    Args:
        archive: The archive.
        files: Names of its XML files.
        images: Names of its images.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first few files at fault.
    """
    documents = {file: read_xml(archive.read(file, max_bytes=_MAX_BYTES), file) for file in files}
    annotations = {file: document for file, document in documents.items() if document.tag == _ROOT}
    if not annotations:
        return None
    lookup = _ImageLookup(images)
    problems: list[str] = []
    found: dict[str, _VocImage] = {}
    for file, document in annotations.items():
        objects = _objects(document, file, problems)
        image = lookup.find(file, document)
        if image is None:
            named = (document.findtext("filename") or "").strip()
            problems.append(f"'{file}' is of the image {named[:200]!a}, which is not in the archive")
        elif image in found:
            problems.append(f"'{file}' and '{found[image].file}' are of one image, '{image}'")
        else:
            found[image] = _VocImage(file, _size(document), objects)
    raise_problems(problems)
    return _joined(found, list(annotations))


class _ImageLookup:
    """Finds the image of an annotation: that of the same name in a folder of images, else the one that it names."""

    def __init__(self, images: Sequence[str]) -> None:
        self._files = FileReferences.of(images)
        self._stems = FileReferences.without_extension(images)

    def find(self, file: str, document: Element) -> str | None:
        folder, _, name = file.rpartition("/")
        outer, _, inner = folder.rpartition("/")
        above = (f"{outer}/" if outer else "") if inner.lower() in _XML_FOLDERS else f"{folder}/" if folder else ""
        folders = (*(above + images for images in _IMAGE_FOLDERS), above, f"{folder}/" if folder else "")
        by_name = self._stems.find(stem(name), folders)
        return by_name or self._files.find(document.findtext("filename") or "", folders)


def _joined(images: Mapping[str, _VocImage], files: list[str]) -> DetectionAnnotations:
    every = [item for image in images.values() for item in image.objects]
    names = sorted({item.name for item in every})
    numbers = {name: number for number, name in enumerate(names)}
    from_zero = any(min(item.corners[:2]) < 1 for item in every)
    shift = 0 if from_zero else 1
    annotated = []
    for name, image in images.items():
        boxes = [(left - shift, top - shift, right, bottom) for left, top, right, bottom in _corners(image)]
        truth = ground_truth(
            boxes,
            [numbers[item.name] for item in image.objects],
            crowd=[item.is_difficult for item in image.objects],
        )
        annotated.append(AnnotatedImage(name, image.file, truth, image.size))
    difficult = sum(item.is_difficult for item in every)
    warnings = [f"ignored in matching, difficult: {difficult:,} objects"] if difficult else []
    if from_zero:
        warnings.append("pixels are counted from 0, since a box starts there; PASCAL VOC counts from 1")
    return DetectionAnnotations(names, annotated, files, "the XML files", warnings)


def _corners(image: _VocImage) -> list[tuple[float, float, float, float]]:
    return [(left, top, right, bottom) for left, top, right, bottom in (item.corners for item in image.objects)]


def _objects(document: Element, file: str, problems: list[str]) -> list[_VocObject]:
    """Return the objects of an annotation that are valid, and add what is wrong with the others to the problems."""
    objects = []
    for number, item in enumerate(document.iterfind("object"), start=1):
        try:
            name = composed(check_name(item.findtext("name") or ""))
        except ValueError:
            problems.append(f"object {number} of '{file}' has no name of 1 to 200 printable characters")
            continue
        corners = tuple(_number(item.findtext(f"bndbox/{corner}")) for corner in _CORNERS)
        left, top, right, bottom = corners
        if not (all(is_coordinate(corner) for corner in corners) and left < right and top < bottom):
            shown = ", ".join(f"{corner} {item.findtext(f'bndbox/{corner}')!a}"[:60] for corner in _CORNERS)
            problems.append(f"object {number} of '{file}', '{name}', has the impossible bndbox {shown}")
            continue
        is_difficult = (item.findtext("difficult") or "").strip().lower() in ("1", "true")
        objects.append(_VocObject(name, corners, is_difficult))
    return objects


def _size(document: Element) -> tuple[int, int] | None:
    width, height = (_number(document.findtext(f"size/{side}")) for side in ("width", "height"))
    return (int(width), int(height)) if width >= 1 and height >= 1 and is_coordinate(max(width, height)) else None


def _number(text: str | None) -> float:
    """Return the number in an element, NaN if it has none."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")

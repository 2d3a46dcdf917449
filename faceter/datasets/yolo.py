"""Reads annotations as YOLO has them: a text file for each image, a line for each object."""

from collections.abc import Sequence
from typing import Final

from faceter.datasets.archive import SafeArchive
from faceter.datasets.class_names import read_class_names
from faceter.datasets.detection_annotations import AnnotatedImage, DetectionAnnotations, ground_truth, raise_problems
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.file_references import stem
from faceter.datasets.image_files import image_size
from faceter.datasets.text_files import decoded_text

_BOX_VALUES: Final = 5
_SMALLEST_POLYGON: Final = 7
_MARGIN: Final = 0.01
"""Fraction of the image by which a box may exceed it, because of rounding."""
_FOLDERS: Final = frozenset({"images", "image", "imgs", "img", "jpegimages"})
_MAX_BYTES: Final = 1 << 24


def read_yolo(
    archive: SafeArchive, texts: Sequence[str], others: Sequence[str], images: Sequence[str], max_pixels: int
) -> DetectionAnnotations | None:
    """Return what text files say of images; None if no image has one.

    A line is the number of a class and its box, as centre, width and height in fractions of the upright image; or the
    number and the corners of a polygon, whose box is taken. Images come in the order of their names; those without a
    text file have no objects. ``data.yaml``, ``classes.txt`` or ``obj.names`` names the classes.

    Args:
        archive: The archive.
        texts: Names of its text files.
        others: Names of its files that may name the classes.
        images: Names of its images.
        max_pixels: Most pixels of an image.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first few lines at fault, or if nothing names the classes; what
            `image_size` raises.
    """
    labels = _LabelLookup(texts)
    files = {image: labels.find(image) for image in images}
    if not any(files.values()):
        return None
    used = {file for file in files.values() if file is not None}
    named = read_class_names(archive, [file for file in others if file not in used])
    if named is None:
        raise invalid_dataset(
            "There are labels as YOLO has them, but no file that names the classes. Put in the data.yaml that the "
            "network was trained with, or a classes.txt with a name on each line."
        )
    names_file, names = named
    problems: list[str] = []
    annotated = []
    for image, file in files.items():
        lines = [] if file is None else decoded_text(archive.read(file, max_bytes=_MAX_BYTES), file).split("\n")
        size = image_size(archive, image, max_pixels)
        classes: list[int] = []
        boxes: list[tuple[float, ...]] = []
        for number, line in enumerate(lines, start=1):
            found = _parsed(line, len(names))
            if isinstance(found, str):
                problems.append(f"line {number} of '{file}' {found}")
            elif found is not None:
                classes.append(found[0])
                boxes.append(tuple(value * side for value, side in zip(found[1], size * 2, strict=True)))
        annotated.append(AnnotatedImage(image, file or names_file, ground_truth(boxes, classes)))
    raise_problems(problems)
    without = [image for image, file in files.items() if file is None]
    warnings = [f"images without a file of labels, so without objects: {quoted_names(without)}"] if without else []
    return DetectionAnnotations(names, annotated, [*sorted(used), names_file], names_file, warnings)


class _LabelLookup:
    """Finds the text file of an image: in ``labels/`` where the image is in ``images/``, or beside the image."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._stems = {stem(text): text for text in texts}

    def find(self, image: str) -> str | None:
        parts = stem(image).split("/")
        places = [place for place in reversed(range(len(parts) - 1)) if parts[place].lower() in _FOLDERS]
        candidates = [[*parts[:place], "labels", *parts[place + 1 :]] for place in places]
        candidates += [parts, *([*parts[:place], "labels", *parts[place:]] for place in reversed(range(len(parts))))]
        names = ("/".join(candidate) for candidate in candidates)
        return next((self._stems[name] for name in names if name in self._stems), None)


def _parsed(line: str, classes: int) -> tuple[int, tuple[float, float, float, float]] | str | None:
    """Return the class and the box of a line, as left, top, right and bottom in fractions of the image.

    Returns:
        What is wrong with the line, if something is; None for an empty line.
    """
    words = line.split()
    if not words:
        return None
    try:
        number, values = float(words[0]), [float(word) for word in words[1:]]
    except ValueError:
        return "holds something that is not a number"
    if not (number.is_integer() and 0 <= number < classes):
        return f"is of class {words[0][:50]}, but there are classes 0 to {classes - 1}"
    if len(words) == _BOX_VALUES:
        x, y, width, height = values
        box = x - width / 2, y - height / 2, x + width / 2, y + height / 2
    elif len(words) >= _SMALLEST_POLYGON and len(words) % 2:
        box = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    else:
        return f"has {len(words)} values; a class and the centre, width and height of its box are {_BOX_VALUES}"
    if not all(-_MARGIN <= value <= 1 + _MARGIN for value in box):
        return "has a box that reaches outside the image; coordinates are fractions of its width and height, 0 to 1"
    if not (box[0] < box[2] and box[1] < box[3]):
        return "has an empty box"
    return int(number), box

"""Datasets of kind ``concepts``: a zip of images whose pixels, or which as a whole, are labelled with concepts."""

import csv
import json
from collections.abc import Iterator, Sequence
from io import BytesIO, TextIOWrapper
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.image_dataset import ImageDataset
from faceter.datasets.images import split_images
from faceter.datasets.samples import DatasetSummary, first_few

_CONCEPTS, _IMAGES, _LABELS, _IMAGE_LABELS = "concepts.json", "images/", "labels/", "image_labels.csv"
_HEADER: Final = ["image", "category", "concept"]

_LONGEST_NAME = 100
_MOST_NAMES = 65_535
"""As many as 16 bits can number beside 0."""
_MAX_CONCEPTS_BYTES = 1 << 24
_MAX_IMAGE_LABELS_BYTES = 1 << 28
_LABEL_BYTES_PER_PIXEL = 4
_SMALLEST_LABEL_LIMIT = 1 << 20
_SHOWN = 5

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DEPTH, _COLOR_TYPE = 24, 25
"""Where a PNG says its bits per value and what its values are."""
_GRAY = 0
_OTHER_COLORS: Final = {2: "RGB", 4: "grey with transparency", 6: "RGB with transparency"}
_DEPTHS: Final = (8, 16)
_WIDENINGS: Final = (256, 257)
"""What 8-bit values are multiplied by where they are made 16-bit."""


class ConceptsDataset(ImageDataset):
    """Images with concepts: of their pixels, or of them as a whole.

    ``concepts.json`` names the concepts of each category. ``labels/CATEGORY/NAME.png`` says for each pixel of the
    image ``images/NAME.jpg`` (or another ending), seen upright, which concept of that category is there: 0 for
    nothing, k for the k-th. ``image_labels.csv`` names concepts that are true of a whole image. A category with a
    folder has a file for each image; one without is of whole images; one may have both. Images come in the order
    of their names; all may lie in one folder.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the file at fault.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        root = _root(archive)
        self.classes = []
        self.categories: dict[str, list[str]] = _categories(
            archive.read(root + _CONCEPTS, max_bytes=_MAX_CONCEPTS_BYTES)
        )
        """Names of the concepts of each category, in the order of ``concepts.json``."""
        self.concept_names: list[str] = [name for names in self.categories.values() for name in names]
        """All of them, category after category: index k is concept number k."""
        self.concept_categories: list[str] = [name for name, names in self.categories.items() for _ in names]
        """Category of each concept."""
        self.names, _ = split_images([name for name in archive.names if name.startswith(root + _IMAGES)])
        stems = _stems(self.names, root + _IMAGES)
        files = _label_files(archive, root, self.categories)
        self.pixel_categories: list[str] = [category for category in self.categories if category in files]
        """Those whose concepts are labelled pixel by pixel."""
        self._maps = {category: _of_images(files[category], category, stems) for category in self.pixel_categories}
        self._everywhere = self._image_labels(archive, root, stems)
        self._note_strangers(archive, root)

    def label_maps(self, index: int) -> NDArray[np.uint16]:
        """Return the concepts of an image's pixels.

        Args:
            index: The image's position.

        Returns:
            uint16 [pixel_categories, H, W], upright: 0 for nothing, k for the k-th concept of the category.

        Raises:
            FaceterError: ``INVALID_DATASET``, ``IMAGE_TOO_LARGE`` or ``INVALID_ARCHIVE``, naming the file.
        """
        if not self.pixel_categories:
            width, height = self.image(index).size
            return np.empty((0, height, width), np.uint16)
        maps = [self._label_map(self._maps[category][index]) for category in self.pixel_categories]
        if len({values.shape for values in maps}) > 1:
            raise _invalid(f"The labels of '{self.names[index]}' differ in size. Save them all in the image's size.")
        return np.stack(maps).astype(np.uint16, copy=False)

    def image_concepts(self, index: int) -> list[int]:
        """Return the numbers, rising, of the concepts that are true of a whole image."""
        return list(self._everywhere[index])

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Check the labels of an image's pixels.

        Raises:
            FaceterError: ``INVALID_DATASET`` if they are of another size, or number concepts that there are not.
        """
        for category in self.pixel_categories:
            file = self._maps[category][index]
            values = self._label_map(file, (self.names[index], image.size))
            self._check_values(values, file, category)

    def summary(self) -> DatasetSummary:
        """Say how many images there are, and which concepts."""
        concepts = {category: list(names) for category, names in self.categories.items()}
        return DatasetSummary(samples=len(self), concepts=concepts, notes=list(self.notes))

    def sample_labels(self, model_labels: Sequence[str] | None) -> None:
        """Return None: images have concepts, but no class."""

    def labels_for(self, model_labels: Sequence[str] | None) -> None:
        """Return None: images have concepts, but no class."""

    def _label_map(self, file: str, of_image: tuple[str, tuple[int, int]] | None = None) -> NDArray[Any]:
        """Return the values of a label file as they are, uint8 or uint16 [H, W].

        Args:
            file: Its name.
            of_image: Name and size (width, height) of its image, to compare with before anything is decoded.
        """
        most = max(self.max_pixels * _LABEL_BYTES_PER_PIXEL, _SMALLEST_LABEL_LIMIT)
        content = self.archive.read(file, max_bytes=most)
        _check_form(content, file)
        try:
            with Image.open(BytesIO(content), formats=("PNG",)) as image:
                self._check_size(image.size, file, of_image)
                image.load()
                values = np.asarray(image)
        except (FaceterError, MemoryError):
            raise
        # Pillow's decoders answer hostile bytes with OSError, SyntaxError, ValueError, struct.error and others.
        except Exception as error:
            raise _invalid(f"'{file}' is broken or cut off ({error}). Save it again.") from error
        if values.ndim != 2:
            raise _invalid(f"'{file}' has several values for each pixel. Save it with one, of 8 or 16 bits.")
        return values if values.dtype == np.uint8 else values.astype(np.uint16)

    def _check_size(self, size: tuple[int, int], file: str, of_image: tuple[str, tuple[int, int]] | None) -> None:
        width, height = size
        if of_image is not None and of_image[1] != size:
            raise _invalid(
                f"'{file}' is {width} × {height} pixels, but its image '{of_image[0]}' is {of_image[1][0]} × "
                f"{of_image[1][1]} (upright). Save labels in the image's size."
            )
        if width * height > self.max_pixels:
            raise FaceterError(
                ProblemKind.IMAGE_TOO_LARGE,
                f"'{file}' is {width} × {height} pixels; this server takes up to {self.max_pixels:,} in all.",
            )

    def _check_values(self, values: NDArray[Any], file: str, category: str) -> None:
        largest, names = int(values.max(initial=0)), len(self.categories[category])
        if largest <= names:
            return
        factor = next((factor for factor in _WIDENINGS if not (values % np.uint16(factor)).any()), None)
        if values.dtype == np.uint16 and factor is not None:
            remedy = f"All its values are multiples of {factor}: 16-bit was written where 8-bit was meant. Save it so."
        else:
            remedy = "0 is for nothing, k for the k-th name."
        raise _invalid(
            f"'{file}' holds the value {largest}, but category '{category}' of {_CONCEPTS} has {names:,} "
            f"name{'s' if names > 1 else ''}. {remedy}"
        )

    def _image_labels(self, archive: SafeArchive, root: str, stems: Sequence[str]) -> list[list[int]]:
        """Return the concepts of each whole image."""
        found: list[set[int]] = [set() for _ in stems]
        if root + _IMAGE_LABELS in archive:
            content = archive.read(root + _IMAGE_LABELS, max_bytes=_MAX_IMAGE_LABELS_BYTES)
            positions = {name.removeprefix(root + _IMAGES): index for index, name in enumerate(self.names)}
            positions.update({stem: index for index, stem in enumerate(stems)})
            for index, concept in _image_concepts(content, positions, self.categories):
                found[index].add(concept)
        said = {self.concept_categories[number] for numbers in found for number in numbers}
        missing = [name for name in self.categories if name not in self.pixel_categories and name not in said]
        if missing:
            raise _invalid(
                f"Categories of {_CONCEPTS} without labels: {first_few(missing)}. Give each a folder in {_LABELS}, or "
                f"rows in {_IMAGE_LABELS}."
            )
        return [sorted(numbers) for numbers in found]

    def _note_strangers(self, archive: SafeArchive, root: str) -> None:
        known = {*self.names, root + _CONCEPTS, root + _IMAGE_LABELS}
        known.update(file for files in self._maps.values() for file in files)
        strangers = [name for name in archive.names if name not in known]
        labels = [name for name in strangers if name.startswith(root + _LABELS)]
        others = [name for name in strangers if not name.startswith(root + _LABELS)]
        if labels:
            self.notes.append(f"passed over, no labels of an image: {first_few(labels)}")
        if others:
            self.notes.append(f"passed over, not known: {first_few(others)}")


def _invalid(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_DATASET, detail)


def _root(archive: SafeArchive) -> str:
    """Return the folder that holds everything, with a slash, or nothing."""
    if _CONCEPTS in archive:
        return ""
    tops = {name.split("/")[0] for name in archive.names}
    if len(tops) == 1 and (root := f"{tops.pop()}/") + _CONCEPTS in archive:
        return root
    raise _invalid(
        f"The archive holds no {_CONCEPTS}. Put it beside the folders {_IMAGES} and {_LABELS}, with the names of each "
        'category: {"object": ["sky", "road"]}.'
    )


def _categories(content: bytes) -> dict[str, list[str]]:
    """Return the names of concepts by category, each name once in all."""
    try:
        document = read_json(content)
    except NotJsonError as error:
        raise _invalid(f"{_CONCEPTS} is not JSON: {error}.") from error
    if not isinstance(document, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in document.values()
    ):
        raise _invalid(f'{_CONCEPTS} must list the names of each category: {{"object": ["sky", "road"]}}.')
    if not document:
        raise _invalid(f"{_CONCEPTS} names no categories. Name one at least, with its concepts.")
    # read_json keeps the last of equal keys
    keys: list[str] = [key for key, _ in json.loads(content.decode("utf-8-sig"), object_pairs_hook=list)]
    _check_different([(key, f"the category '{key}'") for key in keys])
    found = {key: [_checked(name, key) for name in document[key]] for key in keys}
    for category, names in found.items():
        _check_category(category, names)
    _check_different([(name, f"'{name}' of '{category}'") for category, names in found.items() for name in names])
    return found


def _check_category(category: str, names: Sequence[str]) -> None:
    if "/" in category or not _is_name(category) or category != category.strip():
        raise _invalid(
            f"{_CONCEPTS} names a category {_shown(category)}; it must be the name of a folder, of 1 to "
            f"{_LONGEST_NAME} printable characters."
        )
    if not names:
        raise _invalid(f"Category '{category}' of {_CONCEPTS} has no concepts. Name some, or leave it out.")
    if len(names) > _MOST_NAMES:
        raise _invalid(
            f"Category '{category}' of {_CONCEPTS} has {len(names):,} concepts; it may have {_MOST_NAMES:,}, which is "
            "what 16 bits can tell apart."
        )


def _checked(name: str, category: str) -> str:
    if not _is_name(name):
        raise _invalid(
            f"Category {_shown(category)} of {_CONCEPTS} has a concept {_shown(name)}; a name has 1 to {_LONGEST_NAME} "
            "printable characters."
        )
    return name.strip()


def _is_name(text: str) -> bool:
    try:
        return len(check_name(text)) <= _LONGEST_NAME
    except ValueError:
        return False


def _check_different(named: Sequence[tuple[str, str]]) -> None:
    """See that no two names, each with words for it, are equal without regard to case."""
    seen: dict[str, str] = {}
    for name, words in named:
        if name.casefold() in seen:
            raise _invalid(
                f"{_CONCEPTS} has {seen[name.casefold()]} and {words}. Formulas tell concepts apart by name, so names "
                "must differ, and in more than upper and lower case."
            )
        seen[name.casefold()] = words


def _stems(images: Sequence[str], folder: str) -> list[str]:
    """Return NAME of each image, its place in the folder without its ending."""
    if not images:
        raise _invalid(f"The archive holds no images in {_IMAGES} (.jpg, .png, .webp, .gif, .bmp, .tif).")
    found: dict[str, str] = {}
    for image in images:
        stem = str(PurePosixPath(image.removeprefix(folder)).with_suffix(""))
        before = found.setdefault(stem, image)
        if before != image:
            raise _invalid(f"'{before}' and '{image}' would have the same labels. Give one another name.")
    return list(found)


def _label_files(archive: SafeArchive, root: str, categories: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Return the label files of each category that has a folder, by NAME."""
    files: dict[str, dict[str, str]] = {}
    for name in archive.names:
        category, slash, place = name.removeprefix(root + _LABELS).partition("/")
        if not name.startswith(root + _LABELS) or not slash:
            continue
        if category not in categories:
            raise _invalid(
                f"'{name}' is of the category '{category}', which {_CONCEPTS} does not name; it names "
                f"{first_few(list(categories))}."
            )
        of_category = files.setdefault(category, {})
        path = PurePosixPath(place)
        if path.suffix.lower() == ".png":
            of_category.setdefault(str(path.with_suffix("")), name)
    return files


def _of_images(files: dict[str, str], category: str, stems: Sequence[str]) -> list[str]:
    """Return the label file of each image."""
    missing = [f"{_LABELS}{category}/{stem}.png" for stem in stems if stem not in files]
    if missing:
        raise _invalid(
            f"Images without labels of category '{category}'; these files are missing: {first_few(missing)}. Give "
            "each image one, all 0 where there is nothing."
        )
    return [files[stem] for stem in stems]


def _image_concepts(
    content: bytes, positions: dict[str, int], categories: dict[str, list[str]]
) -> Iterator[tuple[int, int]]:
    """Yield the position of an image and the number of a concept for each row of ``image_labels.csv``."""
    numbers: dict[str, dict[str, int]] = {}
    start = 0
    for category, names in categories.items():
        numbers[category] = {name: start + place for place, name in enumerate(names)}
        start += len(names)
    problems: list[str] = []
    for line, row in _rows(content):
        problem = _problem(row, positions, numbers)
        if problem is None:
            image, category, concept = row
            yield positions[image], numbers[category][concept]
            continue
        problems.append(f"line {line} {problem}")
        if len(problems) > _SHOWN:
            break
    if problems:
        more = " And more." if len(problems) > _SHOWN else ""
        raise _invalid(f"{_IMAGE_LABELS}: {'; '.join(problems[:_SHOWN])}.{more}")


def _problem(row: Sequence[str], positions: dict[str, int], numbers: dict[str, dict[str, int]]) -> str | None:
    """Return what is wrong with a row, if anything is."""
    if len(row) != len(_HEADER):
        return f"has {len(row)} value{'s' if len(row) > 1 else ''}, not {len(_HEADER)}"
    image, category, concept = row
    if image not in positions:
        return f"is of the image {_shown(image)}, which is not in {_IMAGES}"
    if category not in numbers:
        return f"is of the category {_shown(category)}, which {_CONCEPTS} does not name"
    if concept not in numbers[category]:
        return f"says {_shown(concept)}, which is no concept of '{category}'"
    return None


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows after the header, each with its line, blanks around values left out."""
    text = TextIOWrapper(BytesIO(content), "utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        header = [value.strip() for value in next(reader, [])]
        if header != _HEADER:
            raise _invalid(f"The first line of {_IMAGE_LABELS} must be {','.join(_HEADER)}.")
        for row in reader:
            if row:
                yield reader.line_num, [value.strip() for value in row]
    except csv.Error as error:
        raise _invalid(f"{_IMAGE_LABELS}: line {reader.line_num} cannot be read ({error}).") from error
    except UnicodeDecodeError as error:
        raise _invalid(f"{_IMAGE_LABELS}: it is not UTF-8 text after line {reader.line_num}.") from error


def _check_form(content: bytes, file: str) -> None:
    """See that a label file is a PNG whose values are taken as they are: one for each pixel, not scaled."""
    if not content.startswith(_PNG) or len(content) <= _COLOR_TYPE:
        raise _invalid(f"'{file}' is not a PNG file. Save labels as PNG, which keeps their values.")
    depth, color = content[_DEPTH], content[_COLOR_TYPE]
    remedy = "Save it with one channel of 8 or 16 bits, or with a palette, whose values number the concepts."
    if color in _OTHER_COLORS:
        raise _invalid(f"'{file}' is {_OTHER_COLORS[color]}, so its values are colours. {remedy}")
    if color == _GRAY and depth not in _DEPTHS:
        raise _invalid(f"'{file}' is grey of {depth} bit{'s' if depth > 1 else ''}. {remedy}")


def _shown(text: str) -> str:
    return f"{text[:_LONGEST_NAME]!a}"

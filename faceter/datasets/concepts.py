"""Datasets of kind ``concepts``: a zip of images with concepts per pixel or per image."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive, root_folder
from faceter.datasets.concept_names import CONCEPTS, read_categories
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.image_concepts import IMAGE_LABELS, read_image_concepts
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.images import split_images
from faceter.datasets.samples import DatasetContents

_IMAGES, _LABELS = "images/", "labels/"

_MAX_CONCEPTS_BYTES = 1 << 24
_MAX_IMAGE_LABELS_BYTES = 1 << 28
_LABEL_BYTES_PER_PIXEL = 4
_SMALLEST_LABEL_LIMIT = 1 << 20

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_DEPTH, _COLOR_TYPE = 24, 25
"""Offsets of the bit depth and the colour type in a PNG."""
_GRAY, _PALETTE = 0, 3
_OTHER_COLORS: Final = {2: "RGB", 4: "grey with transparency", 6: "RGB with transparency"}
_DEPTHS: Final = (8, 16)
_VOID: Final = 255
"""Index of a palette for pixels of no object."""
_WIDENINGS: Final = (256, 257)
"""Factors by which software widens 8-bit values to 16 bits."""


class ConceptsDataset(ImageFilesDataset):
    """Images with concepts, per pixel or per image.

    ``concepts.json`` names the concepts of each category. ``labels/CATEGORY/NAME.png`` numbers, for each pixel of the
    image ``images/NAME.jpg`` (or another extension), upright, the concept of that category: 0 for none, k for the
    k-th. ``image_labels.csv`` names concepts of whole images. A category with a folder has a file for each image; one
    without needs rows in ``image_labels.csv``; one may have both. Images come in the order of their names; everything
    may lie in one folder.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the file at fault.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        root = _root(archive)
        self.classes = []
        self.categories: dict[str, list[str]] = read_categories(
            archive.read(root + CONCEPTS, max_bytes=_MAX_CONCEPTS_BYTES)
        )
        """Names of the concepts of each category, in the order of ``concepts.json``."""
        self.concept_names: list[str] = [name for names in self.categories.values() for name in names]
        """Names of all concepts, category after category: index k is concept number k."""
        self.concept_categories: list[str] = [name for name, names in self.categories.items() for _ in names]
        """Category of each concept."""
        self.names, _ = split_images([name for name in archive.names if name.startswith(root + _IMAGES)])
        stems = _stems(self.names, root + _IMAGES)
        files = _label_files(archive, root, self.categories)
        self.pixel_categories: list[str] = [category for category in self.categories if category in files]
        """Categories with concepts per pixel."""
        self._map_files = {
            category: _files_in_order(files[category], category, stems) for category in self.pixel_categories
        }
        self._with_void: set[str] = set()
        self._image_concepts = self._read_image_concepts(archive, root, stems)
        self._warn_of_unknown_files(archive, root)

    def label_maps(self, index: int) -> NDArray[np.uint16]:
        """Return the concepts of an image's pixels.

        Returns:
            uint16 [pixel_categories, H, W], upright: 0 for none, k for the k-th concept of the category.

        Raises:
            FaceterError: ``INVALID_DATASET``, ``IMAGE_TOO_LARGE`` or ``INVALID_ARCHIVE``, naming the file.
        """
        if not self.pixel_categories:
            width, height = self.image(index).size
            return np.empty((0, height, width), np.uint16)
        maps = [self._label_map(self._map_files[category][index], category) for category in self.pixel_categories]
        if len({values.shape for values in maps}) > 1:
            raise invalid_dataset(
                f"The labels of '{self.names[index]}' differ in size. Save them all in the image's size."
            )
        return np.stack(maps).astype(np.uint16, copy=False)

    def image_concepts(self, index: int) -> list[int]:
        """Return the numbers, ascending, of the concepts of a whole image."""
        return list(self._image_concepts[index])

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Check the labels of an image's pixels.

        Raises:
            FaceterError: ``INVALID_DATASET`` if they have another size, or numbers without a concept.
        """
        for category in self.pixel_categories:
            file = self._map_files[category][index]
            values = self._label_map(file, category, (self.names[index], image.size))
            self._validate_values(values, file, category)

    def summary(self) -> DatasetContents:
        """Return the number of images, and the concepts."""
        concepts = {category: list(names) for category, names in self.categories.items()}
        void = sorted(self._with_void)
        warnings = [f"index {_VOID} of a palette, read as no concept, in {quoted_names(void)}"] if void else []
        return DatasetContents(samples=len(self), concepts=concepts, warnings=[*self.warnings, *warnings])

    def sample_labels(self, model_labels: Sequence[str] | None) -> None:
        """Return None: images have concepts, but no class."""

    def labels_for(self, model_labels: Sequence[str] | None) -> None:
        """Return None: images have concepts, but no class."""

    def _label_map(self, file: str, category: str, of_image: tuple[str, tuple[int, int]] | None = None) -> NDArray[Any]:
        """Return the unscaled values of a label file, uint8 or uint16 [H, W]; with a palette, the indices of colours.

        Index 255 of a palette is none, as PASCAL VOC marks what belongs to no object, unless it is a concept's number.

        Args:
            file: Its name.
            category: Its category.
            of_image: Name and size (width, height) of its image, to compare with before anything is decoded.
        """
        max_bytes = max(self.max_pixels * _LABEL_BYTES_PER_PIXEL, _SMALLEST_LABEL_LIMIT)
        content = self.archive.read(file, max_bytes=max_bytes)
        _validate_png(content, file)
        try:
            with Image.open(BytesIO(content), formats=("PNG",)) as image:
                self._validate_size(image.size, file, of_image)
                image.load()
                values = np.asarray(image)
        except (FaceterError, MemoryError):
            raise
        # Pillow's decoders answer hostile bytes with OSError, SyntaxError, ValueError, struct.error and others.
        except Exception as error:
            raise invalid_dataset(f"'{file}' is broken or cut off ({error}). Save it again.") from error
        if values.ndim != 2:
            raise invalid_dataset(f"'{file}' has several values for each pixel. Save it with one, of 8 or 16 bits.")
        if content[_COLOR_TYPE] == _PALETTE and len(self.categories[category]) < _VOID and (values == _VOID).any():
            self._with_void.add(file)
            return np.where(values == _VOID, np.uint8(0), values)
        return values if values.dtype == np.uint8 else values.astype(np.uint16)

    def _validate_size(self, size: tuple[int, int], file: str, of_image: tuple[str, tuple[int, int]] | None) -> None:
        width, height = size
        if of_image is not None and of_image[1] != size:
            raise invalid_dataset(
                f"'{file}' is {width} × {height} pixels, but its image '{of_image[0]}' is {of_image[1][0]} × "
                f"{of_image[1][1]} (upright). Save labels in the image's size."
            )
        if width * height > self.max_pixels:
            raise FaceterError(
                ProblemKind.IMAGE_TOO_LARGE,
                f"'{file}' is {width} × {height} pixels; this server takes up to {self.max_pixels:,} in all.",
            )

    def _validate_values(self, values: NDArray[Any], file: str, category: str) -> None:
        largest, names = int(values.max(initial=0)), len(self.categories[category])
        if largest <= names:
            return
        factor = next((factor for factor in _WIDENINGS if not (values % np.uint16(factor)).any()), None)
        if values.dtype == np.uint16 and factor is not None:
            remedy = f"All its values are multiples of {factor}: 16-bit was written where 8-bit was meant. Save it so."
        else:
            remedy = "0 is for none, k for the k-th name."
        raise invalid_dataset(
            f"'{file}' holds the value {largest}, but category '{category}' of {CONCEPTS} has {names:,} "
            f"name{'s' if names > 1 else ''}. {remedy}"
        )

    def _read_image_concepts(self, archive: SafeArchive, root: str, stems: Sequence[str]) -> list[list[int]]:
        """Return the numbers of the concepts of each whole image."""
        concepts: list[set[int]] = [set() for _ in stems]
        if root + IMAGE_LABELS in archive:
            content = archive.read(root + IMAGE_LABELS, max_bytes=_MAX_IMAGE_LABELS_BYTES)
            positions = {name.removeprefix(root + _IMAGES): index for index, name in enumerate(self.names)}
            positions.update({stem: index for index, stem in enumerate(stems)})
            for index, concept in read_image_concepts(content, positions, self.categories):
                concepts[index].add(concept)
        labelled = {self.concept_categories[number] for numbers in concepts for number in numbers}
        missing = [name for name in self.categories if name not in self.pixel_categories and name not in labelled]
        if missing:
            raise invalid_dataset(
                f"Categories of {CONCEPTS} without labels: {quoted_names(missing)}. Give each a folder in {_LABELS}, "
                f"or rows in {IMAGE_LABELS}."
            )
        return [sorted(numbers) for numbers in concepts]

    def _warn_of_unknown_files(self, archive: SafeArchive, root: str) -> None:
        known = {*self.names, root + CONCEPTS, root + IMAGE_LABELS}
        known.update(file for files in self._map_files.values() for file in files)
        unknown = [name for name in archive.names if name not in known]
        labels = [name for name in unknown if name.startswith(root + _LABELS)]
        others = [name for name in unknown if not name.startswith(root + _LABELS)]
        if labels:
            self.warnings.append(f"ignored, no labels of an image: {quoted_names(labels)}")
        if others:
            self.warnings.append(f"ignored, unknown: {quoted_names(others)}")


def _root(archive: SafeArchive) -> str:
    """Return the folder that holds everything, with a slash, or nothing."""
    root = root_folder(archive, CONCEPTS)
    if root is not None:
        return root
    raise invalid_dataset(
        f"The archive holds no {CONCEPTS}. Put it beside the folders {_IMAGES} and {_LABELS}, with the names of each "
        'category: {"object": ["sky", "road"]}.'
    )


def _stems(images: Sequence[str], folder: str) -> list[str]:
    """Return NAME of each image, its path in the folder without its extension."""
    if not images:
        raise invalid_dataset(f"The archive holds no images in {_IMAGES} (.jpg, .png, .webp, .gif, .bmp, .tif).")
    stems: dict[str, str] = {}
    for image in images:
        stem = str(PurePosixPath(image.removeprefix(folder)).with_suffix(""))
        other = stems.setdefault(stem, image)
        if other != image:
            raise invalid_dataset(f"'{other}' and '{image}' would have the same labels. Give one another name.")
    return list(stems)


def _label_files(archive: SafeArchive, root: str, categories: dict[str, list[str]]) -> dict[str, dict[str, str]]:
    """Return the label files of each category that has a folder, by NAME."""
    files: dict[str, dict[str, str]] = {}
    for name in archive.names:
        category, slash, place = name.removeprefix(root + _LABELS).partition("/")
        if not name.startswith(root + _LABELS) or not slash:
            continue
        if category not in categories:
            raise invalid_dataset(
                f"'{name}' is of the category '{category}', which {CONCEPTS} does not name; it names "
                f"{quoted_names(list(categories))}."
            )
        of_category = files.setdefault(category, {})
        path = PurePosixPath(place)
        if path.suffix.lower() == ".png":
            of_category.setdefault(str(path.with_suffix("")), name)
    return files


def _files_in_order(files: dict[str, str], category: str, stems: Sequence[str]) -> list[str]:
    """Return the label file of each image."""
    missing = [f"{_LABELS}{category}/{stem}.png" for stem in stems if stem not in files]
    if missing:
        raise invalid_dataset(
            f"Images without labels of category '{category}'; these files are missing: {quoted_names(missing)}. Give "
            "each image one, all 0 where there is no concept."
        )
    return [files[stem] for stem in stems]


def _validate_png(content: bytes, file: str) -> None:
    """Check that a label file is a PNG with one unscaled value for each pixel."""
    if not content.startswith(_PNG) or len(content) <= _COLOR_TYPE:
        raise invalid_dataset(f"'{file}' is not a PNG file. Save labels as PNG, which keeps their values.")
    depth, color = content[_DEPTH], content[_COLOR_TYPE]
    remedy = "Save it with one channel of 8 or 16 bits, or with a palette, whose values number the concepts."
    if color in _OTHER_COLORS:
        raise invalid_dataset(f"'{file}' is {_OTHER_COLORS[color]}, so its values are colours. {remedy}")
    if color == _GRAY and depth not in _DEPTHS:
        raise invalid_dataset(f"'{file}' is grey of {depth} bit{'s' if depth > 1 else ''}. {remedy}")

"""Datasets of kind ``images``: a zip of images, with or without classes."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.class_folders import class_folders
from faceter.datasets.class_names import read_class_names
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.image_index import ImageIndex, read_indexes
from faceter.datasets.names import folded, label_positions, numbered_names
from faceter.datasets.samples import DatasetContents
from faceter.vision.boxes import IntArray
from faceter.vision.images import EXTENSIONS


class ImagesDataset(ImageFilesDataset):
    """Images, whose class an index file or their folder names, if any does.

    Images come in the order of their names. An index, such as ``val.txt`` or ``labels.csv``, chooses the images that it
    lists, and may name their classes: see `read_index`. Otherwise folders do: see `class_folders`. Classes that are
    numbers come in the order of these, and stand for the model's outputs of these numbers; ``classes.txt`` may name
    them, a line for each number from 0. Files without an image extension are ignored.

    Raises:
        FaceterError: ``INVALID_DATASET`` if there is no image, or some lie in folders and some do not.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        names, others = split_images(archive.names)
        if not names:
            raise no_images(others)
        indexes = read_indexes(archive, names, others)
        others = [name for name in others if name not in {index.file for index in indexes}]
        of_images = self._classes_of_images(names, indexes)
        self.names = list(of_images)
        self.classes = sorted({label for label in of_images.values() if label is not None})
        self.outputs: list[int] | None = None
        """The model's output that each class stands for; None if classes are no numbers."""
        numbers = numbered_names(self.classes) if self.classes else None
        if numbers is not None:
            self.classes = sorted(self.classes, key=numbers.__getitem__)
            self.outputs = [numbers[name] for name in self.classes]
        positions = {name: position for position, name in enumerate(self.classes)}
        self.labels: list[int] | None = [positions[label] for label in of_images.values() if label is not None] or None
        """Position of each image's class in ``classes``; None if they have none."""
        self._are_named = False
        if self.outputs is not None:
            others = self._name_numbers(self.outputs, others)
        if others:
            self.warnings.append(f"ignored, not images: {quoted_names(others)}")
        self._warn_of_similar_classes()

    def labels_for(self, model_labels: Sequence[str] | None) -> list[int] | None:
        """Return the class of each image, numbered in the order of the model's labels.

        Args:
            model_labels: The model's labels. Without them classes that are numbers are outputs, and others are numbered
                in the order of their names; so are numbers of which none is a label.

        Returns:
            One number per image, or None if the images have no classes.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """
        if self.labels is None:
            return None
        if model_labels is None:
            return self.labels if self.outputs is None else [self.outputs[label] for label in self.labels]
        positions = label_positions(model_labels)
        unknown = [name for name in self.classes if name not in positions]
        numbered = self.outputs is not None and not self._are_named
        if self.outputs is not None and numbered and len(unknown) == len(self.classes):
            unknown = [str(output) for output in self.outputs if output >= len(model_labels)]
            if not unknown:
                return [self.outputs[label] for label in self.labels]
        if unknown:
            outputs = f", outputs 0 to {len(model_labels) - 1}" if numbered else ""
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Classes that are no labels of the model: {quoted_names(unknown)}. "
                f"Its labels are {quoted_names(list(model_labels))}{outputs}.",
            )
        return [positions[self.classes[label]] for label in self.labels]

    def sample_labels(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return ``labels_for(model_labels)`` as int64 [N]."""
        labels = self.labels_for(model_labels)
        return None if labels is None else np.array(labels, np.int64)

    def class_positions(self) -> IntArray | None:
        """Return ``labels`` as int64 [N]."""
        return None if self.labels is None else np.array(self.labels, np.int64)

    def summary(self) -> DatasetContents:
        """Return the number of images, in all and of each class."""
        counts = Counter(self.labels or [])
        return DatasetContents(
            samples=len(self),
            classes=list(self.classes),
            class_counts={name: counts[number] for number, name in enumerate(self.classes)},
            warnings=list(self.warnings),
        )

    def _classes_of_images(self, names: Sequence[str], indexes: Sequence[ImageIndex]) -> dict[str, str | None]:
        """Return the class of each image of the set, None for all that have none."""
        labelled = [index for index in indexes if index.labels is not None]
        chosen = labelled or indexes
        listed = {image for index in chosen for image in index.images}
        if listed and len(listed) < len(names):
            files = quoted_names([index.file for index in chosen])
            others = [name for name in names if name not in listed]
            self.warnings.append(f"ignored, not in {files}: {len(others):,} images, such as {quoted_names(others)}")
        if labelled:
            self.warnings.append(f"classes from {quoted_names([index.file for index in labelled])}")
            return dict(sorted(_joined(labelled).items()))
        folders, warnings = class_folders(names)
        self.warnings += warnings
        of_images = {name: folder for name, folder in zip(names, folders, strict=True) if not listed or name in listed}
        outside = [name for name, folder in of_images.items() if folder is None]
        if outside and len(outside) < len(of_images):
            raise invalid_dataset(
                f"Some images lie in class folders, but {quoted_names(outside)} do not. Put all in folders, or none."
            )
        return of_images

    def _name_numbers(self, outputs: Sequence[int], others: Sequence[str]) -> list[str]:
        """Name classes that are numbers by ``classes.txt``, if there is one, and return the other files."""
        found = read_class_names(self.archive, others)
        if found is None:
            return list(others)
        file, names = found
        if max(outputs) >= len(names):
            raise invalid_dataset(
                f"{file} names {len(names):,} classes, the first of which is number 0, but there is a class "
                f"{max(outputs)}. Name all classes, or leave the file out."
            )
        self.classes = [names[output] for output in outputs]
        self._are_named = True
        self.warnings.append(f"names of classes from '{file}'")
        return [name for name in others if name != file]

    def _warn_of_similar_classes(self) -> None:
        similar = Counter(folded(name) for name in self.classes)
        names = [name for name in self.classes if similar[folded(name)] > 1]
        if names:
            self.warnings.append(f"classes that differ only in upper and lower case: {quoted_names(names)}")


def no_images(others: Sequence[str]) -> FaceterError:
    """Return the error of an archive that holds other files only."""
    return invalid_dataset(
        f"The archive holds no images (.jpg, .png, .webp, .gif, .bmp, .tif), only {quoted_names(others)}."
    )


def split_images(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split file names into those with an image extension, and the others."""
    images = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    known = set(images)
    return images, [name for name in names if name not in known]


def _joined(indexes: Sequence[ImageIndex]) -> dict[str, str | None]:
    """Return the class of each image that indexes name."""
    classes: dict[str, str | None] = {}
    for index in indexes:
        for image, label in (index.labels or {}).items():
            if classes.setdefault(image, label) != label:
                raise invalid_dataset(
                    f"'{image}' is '{classes[image]}' by one index file and '{label}' by {index.file}. Correct one of "
                    "them, or leave it out."
                )
    return classes

"""Datasets of kind ``images``: a zip of images, with or without class folders."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.samples import DatasetContents
from faceter.vision.boxes import IntArray
from faceter.vision.images import EXTENSIONS


class ImagesDataset(ImageFilesDataset):
    """Images, whose folder names their class if they lie in one.

    Images come in the order of their names. Folders that hold everything (``cifar10/airplane/1.jpg``,
    ``cifar10/cat/2.jpg``) are no class; the first folder below them is. Files without an image extension are
    ignored.

    Raises:
        FaceterError: ``INVALID_DATASET`` if there is no image, or some lie in folders and some do not.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        self.names, others = split_images(archive.names)
        if not self.names:
            raise invalid_dataset(
                f"The archive holds no images (.jpg, .png, .webp, .gif, .bmp, .tif), only {quoted_names(others)}."
            )
        if others:
            self.warnings.append(f"ignored, not images: {quoted_names(others)}")
        folders = _class_folders(self.names)
        self.classes = sorted({folder for folder in folders if folder is not None})
        numbers = {name: number for number, name in enumerate(self.classes)}
        self.labels: list[int] | None = [numbers[folder] for folder in folders if folder is not None] or None

    def labels_for(self, model_labels: Sequence[str] | None) -> list[int] | None:
        """Return the class of each image, numbered in the order of the model's labels.

        Args:
            model_labels: The model's labels; without them classes are numbered in the order of their names.

        Returns:
            One number per image, or None if the images lie in no class folders.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the folders that are none of the labels.
        """
        if self.labels is None or model_labels is None:
            return self.labels
        numbers = {label: number for number, label in enumerate(model_labels)}
        unknown = [name for name in self.classes if name not in numbers]
        if unknown:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Class folders that are no labels of the model: {quoted_names(unknown)}. "
                f"Its labels are {quoted_names(list(model_labels))}.",
            )
        return [numbers[self.classes[label]] for label in self.labels]

    def sample_labels(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return ``labels_for(model_labels)`` as int64 [N]."""
        labels = self.labels_for(model_labels)
        return None if labels is None else np.array(labels, np.int64)

    def summary(self) -> DatasetContents:
        """Return the number of images, in all and of each class."""
        counts = Counter(self.labels or [])
        return DatasetContents(
            samples=len(self),
            classes=list(self.classes),
            class_counts={name: counts[number] for number, name in enumerate(self.classes)},
            warnings=list(self.warnings),
        )


def split_images(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split file names into those with an image extension, and the others."""
    images = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS]
    known = set(images)
    return images, [name for name in names if name not in known]


def _class_folders(names: Sequence[str]) -> list[str | None]:
    """Return the class folder of each image; all None if no image lies in one."""
    folders = [name.split("/")[:-1] for name in names]
    while all(len(path) > 1 for path in folders) and len({path[0] for path in folders}) == 1:
        folders = [path[1:] for path in folders]
    outside = [name for name, path in zip(names, folders, strict=True) if not path]
    if outside and len(outside) < len(names):
        raise invalid_dataset(
            f"Some images lie in class folders, but {quoted_names(outside)} do not. Put all in folders, or none."
        )
    return [path[0] if path else None for path in folders]

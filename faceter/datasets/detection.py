"""Datasets of kind ``detection``: a zip with ``images/`` and ``annotations.json`` in COCO format."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive, root_folder
from faceter.datasets.coco import (
    ANNOTATIONS,
    category_names,
    declared_size,
    ground_truths,
    images_by_id,
    read_annotations,
)
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.images import split_images
from faceter.datasets.samples import DatasetContents

_FOLDER = "images/"
_MAX_ANNOTATION_BYTES = 1 << 29
_OVERHANG = 2.0
"""Pixels by which a box may exceed its image, because of rounding or scaling."""

_SYNONYMS = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "sofa": "couch",
    "television": "tv",
    "tvmonitor": "tv",
}
"""PASCAL VOC's names of classes that have other names in COCO."""


class DetectionDataset(ImageFilesDataset):
    """Images with annotated boxes.

    Images come in the order of ``annotations.json``, classes in the order of their category ids.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first few images or annotations at fault.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        root = root_folder(archive, ANNOTATIONS)
        if root is None:
            raise invalid_dataset(
                f"The archive holds no {ANNOTATIONS}. Put it beside the folder {_FOLDER}, in COCO format."
            )
        content = read_annotations(archive.read(root + ANNOTATIONS, max_bytes=_MAX_ANNOTATION_BYTES))
        categories = category_names(content["categories"])
        self.classes = list(categories.values())
        images = images_by_id(content["images"])
        self.names = _member_names([entry["file_name"] for entry in images.values()], archive, root)
        self._declared_sizes = [declared_size(entry) for entry in images.values()]
        self.truths = ground_truths(content["annotations"], list(images), list(categories))
        """The boxes of each image."""
        self._warn_of_unknown_files(archive, root)

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Check an image's annotated size and boxes against the image.

        Raises:
            FaceterError: ``INVALID_DATASET`` if they contradict the image.
        """
        width, height = image.size
        declared = self._declared_sizes[index]
        name = self.names[index]
        if declared is not None and declared != image.size:
            raise invalid_dataset(
                f"'{name}' is {width} × {height} pixels (upright), "
                f"but {ANNOTATIONS} says {declared[0]} × {declared[1]}."
            )
        boxes = self.truths[index].boxes
        limits = np.array([width, height], np.float64) + _OVERHANG
        outside = (boxes[:, :2] < -_OVERHANG).any(axis=1) | (boxes[:, 2:] > limits).any(axis=1)
        outside |= (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2:] <= 0).any(axis=1)
        if outside.any():
            left, top, right, bottom = boxes[outside][0]
            bbox = [float(left), float(top), float(right - left), float(bottom - top)]
            raise invalid_dataset(
                f"'{name}' is {width} × {height} pixels, but {int(outside.sum())} of its boxes reach outside it, "
                f"such as bbox {bbox} (left, top, width, height)."
            )

    def summary(self) -> DatasetContents:
        """Return the number of images, and of boxes of each class."""
        counts = Counter(int(number) for truth in self.truths for number in truth.classes)
        return DatasetContents(
            samples=len(self),
            classes=list(self.classes),
            class_counts={name: counts[number] for number, name in enumerate(self.classes) if counts[number]},
            warnings=list(self.warnings),
        )

    def sample_labels(self, model_labels: Sequence[str] | None) -> None:
        """Return None: boxes have classes, images do not."""

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
        canonical = {_canonical(label): number for number, label in reversed(list(enumerate(model_labels)))}
        numbers = [exact.get(name, canonical.get(_canonical(name), -1)) for name in self.classes]
        used = {int(number) for truth in self.truths for number in truth.classes}
        unknown = [name for number, name in enumerate(self.classes) if numbers[number] < 0 and number in used]
        if unknown:
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"Categories with boxes that are no labels of the model: {quoted_names(unknown)}. "
                f"Its labels are {quoted_names(list(model_labels))}.",
            )
        return numbers

    def _warn_of_unknown_files(self, archive: SafeArchive, root: str) -> None:
        known = {*self.names, root + ANNOTATIONS}
        unknown = [name for name in archive.names if name not in known]
        images, others = split_images(unknown)
        if images:
            self.warnings.append(f"ignored, not in {ANNOTATIONS}: {quoted_names(images)}")
        if others:
            self.warnings.append(f"ignored, not images: {quoted_names(others)}")


def _member_names(file_names: Sequence[str], archive: SafeArchive, root: str) -> list[str]:
    """Return the archive member of each ``file_name``."""
    names: list[str] = []
    missing: list[str] = []
    for file_name in file_names:
        candidates = [root + _FOLDER + file_name, root + file_name]
        member = next((name for name in candidates if name in archive), None)
        if member is None:
            missing.append(file_name)
        else:
            names.append(member)
    if missing:
        raise invalid_dataset(f"{ANNOTATIONS} lists images that are not in {_FOLDER}: {quoted_names(missing)}.")
    return names


def _canonical(name: str) -> str:
    folded = " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
    return _SYNONYMS.get(folded.replace(" ", ""), folded).replace(" ", "")

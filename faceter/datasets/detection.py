"""Datasets of kind ``detection``: a zip of images and boxes."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from PIL import Image

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.coco import ANNOTATIONS, IMAGES, read_coco
from faceter.datasets.detection_annotations import DetectionAnnotations
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.file_references import FileReferences
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.images import split_images
from faceter.datasets.names import folded, label_positions
from faceter.datasets.samples import DatasetContents
from faceter.datasets.voc import read_voc
from faceter.datasets.yolo import read_yolo

_ROBOFLOW = "_annotations.coco.json"
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
    """Images with annotated boxes, in the format of COCO, PASCAL VOC or YOLO.

    Images and classes come in the order of `read_coco`, `read_voc` or `read_yolo`.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first few images or annotations at fault.
    """

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        found = _annotations(archive, settings.max_pixels)
        self.classes = found.classes
        self.names = [image.name for image in found.images]
        self._images = found.images
        self.truths = [image.truth for image in found.images]
        """The boxes of each image."""
        self.warnings += found.warnings
        self._warn_of_unknown_files(found)

    @property
    def has_boxes(self) -> bool:
        """Whether there is a box that is not ignored in matching."""
        return any((truth.crowd == 0).any() for truth in self.truths)

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Check an image's annotated size and boxes against the image.

        Raises:
            FaceterError: ``INVALID_DATASET`` if they contradict the image.
        """
        width, height = image.size
        annotated = self._images[index]
        name = annotated.name
        if annotated.size is not None and annotated.size != image.size:
            raise invalid_dataset(
                f"'{name}' is {width} × {height} pixels (upright), "
                f"but {annotated.source} says {annotated.size[0]} × {annotated.size[1]}."
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
                f"such as bbox {bbox} (left, top, width, height), by {annotated.source}."
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
        exact = label_positions(model_labels)
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

    def _warn_of_unknown_files(self, found: DetectionAnnotations) -> None:
        known = {*self.names, *found.files}
        unknown = [name for name in self.archive.names if name not in known]
        images, others = split_images(unknown)
        if images:
            self.warnings.append(f"ignored, not in {found.source}: {quoted_names(images)}")
        if others:
            self.warnings.append(f"ignored, not images: {quoted_names(others)}")


def _annotations(archive: SafeArchive, max_pixels: int) -> DetectionAnnotations:
    """Return the annotations of an archive, in the first format of which it has files."""
    images, others = split_images(archive.names)
    documents, xml, texts = (_ending(others, ending) for ending in (".json", ".xml", ".txt"))
    files = _coco_files(documents)
    found = read_coco(archive, files, FileReferences.of(images)) if files else None
    if found is None and xml:
        found = read_voc(archive, xml, images)
    if found is None and texts:
        found = read_yolo(archive, texts, others, images, max_pixels)
    if found is None and len(documents) == 1:
        found = read_coco(archive, documents, FileReferences.of(images))
    if found is None:
        those = f", only {quoted_names(documents)}" if documents else ""
        raise invalid_dataset(
            f"The archive holds no {ANNOTATIONS}{those}. Put it beside the folder {IMAGES}, in COCO format; or PASCAL "
            "VOC's XML files into Annotations/, or YOLO's text files into labels/ with a data.yaml or classes.txt."
        )
    if not found.images:
        raise invalid_dataset(f"There are annotations in {found.source}, but none is of an image in the archive.")
    return found


def _coco_files(documents: Sequence[str]) -> list[str]:
    """Return the files that are in COCO format by their names, those of the first usual name that there is."""
    by_name = {file: file.rpartition("/")[2].lower() for file in documents}
    usual = [file for file, name in by_name.items() if name == ANNOTATIONS]
    if usual:
        depth = min(file.count("/") for file in usual)
        return [file for file in usual if file.count("/") == depth]
    instances = [file for file, name in by_name.items() if name.startswith("instances")]
    return instances or [file for file, name in by_name.items() if name == _ROBOFLOW]


def _ending(files: Sequence[str], ending: str) -> list[str]:
    return [file for file in files if file.lower().endswith(ending)]


def _canonical(name: str) -> str:
    words = " ".join(folded(name).replace("_", " ").replace("-", " ").split())
    return _SYNONYMS.get(words.replace(" ", ""), words).replace(" ", "")

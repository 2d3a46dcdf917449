"""Datasets to measure a model's accuracy on: which kind a task needs, and whether the classes are the model's."""

from collections.abc import Sequence
from typing import Final

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Task
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import InputDataset
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.tensors import TensorsDataset
from faceter.datasets.texts import TextsDataset

KIND_OF_TASK: Final = {
    Task.IMAGE_CLASSIFICATION: DatasetKind.IMAGES,
    Task.OBJECT_DETECTION: DatasetKind.DETECTION,
    Task.SIGNAL_CLASSIFICATION: DatasetKind.SIGNALS,
    Task.TEXT_CLASSIFICATION: DatasetKind.TEXTS,
    Task.TEXT_PAIR_CLASSIFICATION: DatasetKind.TEXT_PAIRS,
}
"""The kind of dataset that accuracy is measured on, for each task that has one."""


def measures_accuracy(task: Task, kind: DatasetKind) -> bool:
    """Return whether accuracy of a task can be measured on datasets of a kind; signals may be given as tensors."""
    return kind is KIND_OF_TASK[task] or (task is Task.SIGNAL_CLASSIFICATION and kind is DatasetKind.TENSORS)


def validate_classes(data: InputDataset, model_labels: Sequence[str] | None, count: int | None) -> None:
    """Check that the classes of a dataset are the model's.

    Args:
        data: The dataset.
        model_labels: The model's labels, if it has any.
        count: Number of the model's classes; None if it is not known.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` naming the classes that are not, or both numbers of classes.
    """
    data.labels_for(model_labels)
    if isinstance(data, DetectionDataset) and not data.has_boxes:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The dataset has no annotated box, but for those ignored in matching (crowds, difficult objects), so "
            "accuracy cannot be measured on it. Annotate some objects.",
        )
    if isinstance(data, DetectionDataset) or model_labels is not None or count is None:
        return
    if isinstance(data, ImagesDataset) and data.outputs is not None:
        _validate_outputs(data.outputs, count)
        return
    classes = len(data.classes)
    if classes > count or (classes < count and not _numbered(data)):
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The dataset has {classes} classes and the model {count}. Upload the model with its labels, so that "
            "classes can be matched by name.",
        )


def _validate_outputs(outputs: Sequence[int], count: int) -> None:
    if max(outputs) >= count:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The dataset's classes are numbers up to {max(outputs)}, which stand for the model's outputs, and it has "
            f"{count}, from 0 to {count - 1}. Number classes from 0, or upload the model with its labels.",
        )


def _numbered(data: InputDataset) -> bool:
    """Whether labels are the model's output positions, so that the last classes may have no samples."""
    return isinstance(data, SignalsDataset | TensorsDataset | TextsDataset) and data.numbered

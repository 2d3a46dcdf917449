"""Datasets to measure a model's accuracy on: which kind a task needs, and whether the classes are the model's."""

from collections.abc import Sequence
from typing import Final

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Task
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.kinds import InputDataset
from faceter.datasets.signals import SignalsDataset

KIND_OF_TASK: Final = {
    Task.IMAGE_CLASSIFICATION: DatasetKind.IMAGES,
    Task.OBJECT_DETECTION: DatasetKind.DETECTION,
    Task.SIGNAL_CLASSIFICATION: DatasetKind.SIGNALS,
}
"""The kind of dataset that accuracy is measured on, for each task that has one."""


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
    if isinstance(data, DetectionDataset) or model_labels is not None or count is None:
        return
    classes = len(data.classes)
    if classes > count or (classes < count and not _numbered(data)):
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The dataset has {classes} classes and the model {count}. Upload the model with its labels, so that "
            "classes can be matched by name.",
        )


def _numbered(data: InputDataset) -> bool:
    """Whether labels are the model's output positions, so that the last classes may have no samples."""
    return isinstance(data, SignalsDataset) and data.numbered

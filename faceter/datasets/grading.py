"""Whether a dataset can grade a model: which kind a task needs, and whether the classes are the model's."""

from collections.abc import Sequence
from typing import Final

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Task
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.kinds import InputDataset
from faceter.datasets.signals import SignalsDataset

GRADED_BY: Final = {
    Task.IMAGE_CLASSIFICATION: DatasetKind.IMAGES,
    Task.OBJECT_DETECTION: DatasetKind.DETECTION,
    Task.SIGNAL_CLASSIFICATION: DatasetKind.SIGNALS,
}
"""The kind of dataset that a score is measured on, for each task that has one."""


def check_classes(data: InputDataset, model_labels: Sequence[str] | None, count: int | None) -> None:
    """See that the classes of a dataset are the model's.

    Args:
        data: The dataset.
        model_labels: The model's labels, if it has any.
        count: How many classes the model tells apart; None where it is not known.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` naming the classes that are not, or how many there are.
    """
    data.labels_for(model_labels)
    if isinstance(data, DetectionDataset) or model_labels is not None or count is None:
        return
    found = len(data.classes)
    if found > count or (found < count and not _numbered(data)):
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The dataset has {found} classes and the model {count}. Upload the model with its labels, so that "
            "classes can be told apart by name.",
        )


def _numbered(data: InputDataset) -> bool:
    """Whether labels mean the model's outputs, so that the last classes may lack samples."""
    return isinstance(data, SignalsDataset) and data.numbered

"""The datasets of a quantization job, opened and validated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.accuracy import KIND_OF_TASK, measures_accuracy, validate_classes
from faceter.datasets.kinds import InputDataset, open_inputs
from faceter.datasets.tokenized import use_tokenizer_of
from faceter.store.library import Library
from faceter.vision.metadata import class_output

_FIELD = "evaluation_dataset_id"


@dataclass(frozen=True)
class JobDatasets:
    """The opened datasets of a job.

    Args:
        records: Their records, by ``calibration_dataset`` and ``evaluation_dataset``.
    """

    calibration: InputDataset | None = None
    evaluation: InputDataset | None = None
    records: dict[str, Dataset] = field(default_factory=dict)


@contextmanager
def open_datasets(
    library: Library, request: QuantizationRequest, settings: Settings, model: Model
) -> Iterator[JobDatasets]:
    """Open the datasets that a request names, and close them at the end of the block.

    Args:
        model: The model to quantize; datasets of texts use its tokenizer.
    """
    opened: dict[str, InputDataset] = {}
    records: dict[str, Dataset] = {}
    with ExitStack() as stack:
        for role in ("calibration_dataset", "evaluation_dataset"):
            dataset_id = getattr(request, f"{role}_id")
            if dataset_id is not None:
                record = library.datasets.get(dataset_id)
                dataset = open_inputs(library.blobs.path(record.sha256), record.kind, settings)
                stack.callback(dataset.close)
                use_tokenizer_of(dataset, model, library.blobs.read, seconds=settings.inference_seconds)
                opened[role] = dataset
                records[role] = record
        yield JobDatasets(opened.get("calibration_dataset"), opened.get("evaluation_dataset"), records)


def validate_evaluation_dataset(datasets: JobDatasets, metadata: ModelMetadata, outputs: Sequence[TensorSpec]) -> None:
    """Check that accuracy can be measured on the evaluation dataset, where its record is known.

    Args:
        outputs: Outputs of the model.

    Raises:
        FaceterError: ``WRONG_DATASET_KIND`` or ``DATASET_MISMATCH``.
    """
    record = datasets.records.get("evaluation_dataset")
    required = KIND_OF_TASK.get(metadata.task)
    if datasets.evaluation is None or record is None or required is None:
        return
    if not measures_accuracy(metadata.task, record.kind):
        raise FaceterError(
            ProblemKind.WRONG_DATASET_KIND,
            f"A model for {metadata.task} is evaluated on a dataset of kind {required}, not {record.kind}.",
            field=_FIELD,
        )
    if datasets.evaluation.labels_for(None) is None:
        missing = "class folders" if record.kind is DatasetKind.IMAGES else "labels"
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The evaluation dataset has no {missing}, so accuracy cannot be measured on it.",
            field=_FIELD,
        )
    try:
        validate_classes(datasets.evaluation, metadata.labels, _class_count(metadata, outputs))
    except FaceterError as error:
        raise error.at(_FIELD) from error


def _class_count(metadata: ModelMetadata, outputs: Sequence[TensorSpec]) -> int | None:
    """Return the size of the model's class axis; None where it is not known."""
    shape = class_output(metadata, list(outputs)).shape
    return shape[-1] if len(shape) > 1 and isinstance(shape[-1], int) else None

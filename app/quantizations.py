"""Asking for a quantization: everything that can be known to be wrong is said before a job is made of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.quantization_checks import check_method, check_said, check_settings
from app.queue import JobQueue
from app.uses import holding
from faceter.contracts.base import check_name
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, QuantizationJob
from faceter.contracts.models import Model, Task
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.grading import GRADED_BY, check_classes
from faceter.datasets.kinds import InputDataset, open_inputs
from faceter.datasets.signals import SignalsDataset
from faceter.graphs.canonical import canonicalize
from faceter.graphs.check import load_model
from faceter.graphs.describe import is_quantized
from faceter.graphs.operators import unsupported
from faceter.graphs.sites import quantizable
from faceter.store.library import Library
from faceter.vision.metadata import class_output

_DATASET_FIELDS = ("calibration_dataset", "evaluation_dataset")


class Quantizations:
    """Makes jobs of quantization requests. Every method blocks: it is to be called in a thread.

    Args:
        library: Where models and data sets are.
        queue: Where jobs go.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._settings = settings

    def request(self, model_id: str, request: QuantizationRequest) -> Job:
        """Check a request and queue the job.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a data set that does not exist,
                or for settings that contradict each other or the operator's limits; `ALREADY_QUANTIZED`,
                `UNSUPPORTED_OPERATOR`, `NOTHING_TO_QUANTIZE`, `METHOD_NOT_APPLICABLE`, `WRONG_DATASET_KIND`,
                `DATASET_MISMATCH`, `OVERLOADED`.
        """
        check_said(request)
        return self._queue_job(model_id, request)

    def _queue_job(self, model_id: str, request: QuantizationRequest) -> Job:
        check_settings(request, self._settings)
        model = self._library.models.get(model_id)
        if model.quantization is not None:
            raise _already_quantized(model)
        request = _with_name(request)
        self._check_datasets(model, request)
        self._check_graph(model, request)
        specification = QuantizationJob(model_id=model_id, request=request)
        with holding(self._library.redis, specification.uses):
            self._library.models.get(model_id)
            for field in _DATASET_FIELDS:
                self._dataset(request, field)
            return self._queue.enqueue(specification)

    def rerun(self, job_id: str) -> Job:
        """Queue a new job that does what an earlier one was to do, if that can still be done.

        Raises:
            FaceterError: `NOT_FOUND` for the job; `JOB_NOT_ENDED` while it goes on; and what `request` raises.
        """
        job = self._queue.get(job_id)
        if not job.status.ended:
            raise FaceterError(
                ProblemKind.JOB_NOT_ENDED,
                f"{job_id} is still {job.status}. Wait for it to end, or cancel it with DELETE /v1/jobs/{job_id}.",
            )
        return self._queue_job(job.specification.model_id, job.specification.request)

    def _check_graph(self, model: Model, request: QuantizationRequest) -> None:
        content = self._library.blobs.read(model.sha256)
        graph = load_model(content, max_bytes=len(content))
        if is_quantized(graph):
            raise _already_quantized(model)
        unknown = unsupported(graph)
        if unknown:
            operator, node = unknown[0]
            raise FaceterError(
                ProblemKind.UNSUPPORTED_OPERATOR,
                f"Quantization does not know the operator {operator} (node {node!r}). "
                "The model can be served with predict all the same.",
                operators=sorted({operator for operator, _ in unknown}),
            )
        canonical = canonicalize(graph)
        quantizable(canonical)
        check_method(request.method, model.metadata, canonical)

    def _check_datasets(self, model: Model, request: QuantizationRequest) -> None:
        for field in _DATASET_FIELDS:
            dataset = self._dataset(request, field)
            if dataset is not None:
                if dataset.kind is DatasetKind.FEATURES:
                    raise _wrong_kind(dataset, "features are no inputs of a model", field)
                if dataset.kind is DatasetKind.SIGNALS:
                    self._check_takes_signals(model, dataset, field)
                else:
                    _check_takes_pictures(model, dataset, field)
                if field == "evaluation_dataset":
                    self._check_evaluation(model, dataset, field)

    def _dataset(self, request: QuantizationRequest, field: str) -> Dataset | None:
        id = getattr(request, field)
        dataset = None if id is None else self._library.datasets.find(id)
        if id is not None and dataset is None:
            raise FaceterError(
                ProblemKind.INVALID_REQUEST,
                f"There is no data set {id!r}. GET /v1/datasets lists those there are.",
                field=field,
            )
        return dataset

    def _check_evaluation(self, model: Model, dataset: Dataset, field: str) -> None:
        """See that accuracy can be measured; for tasks that have none, any pictures show how well outputs agree."""
        task = model.metadata.task
        kind = GRADED_BY.get(task)
        if kind is None:
            return
        if dataset.kind is not kind:
            raise _wrong_kind(dataset, f"the evaluation of {task} needs {kind}", field)
        if task is Task.OBJECT_DETECTION and model.metadata.detection is None:
            raise _mismatch(
                "The model's metadata has no `detection`, so its boxes cannot be compared with those of a data set.",
                field,
            )
        if not dataset.classes:
            raise _mismatch(f"{dataset.id} has no labels, so accuracy cannot be measured on it.", field)
        with self._opened(dataset, field) as opened:
            check_classes(opened, model.metadata.labels, _class_count(model))

    def _check_takes_signals(self, model: Model, dataset: Dataset, field: str) -> None:
        if model.metadata.preprocessing is not None:
            raise _wrong_kind(dataset, "the model takes pictures", field)
        with self._opened(dataset, field) as opened:
            if isinstance(opened, SignalsDataset):
                opened.input_of(model.inputs)

    @contextmanager
    def _opened(self, dataset: Dataset, field: str) -> Iterator[InputDataset]:
        """Open a data set; what does not fit in the block is said of the field."""
        try:
            with open_inputs(self._library.blobs.path(dataset.sha256), dataset.kind, self._settings) as opened:
                yield opened
        except FaceterError as error:
            raise error.at(field) from error


def _with_name(request: QuantizationRequest) -> QuantizationRequest:
    """Return the request with its name as it will be kept.

    It is checked here and not by the contract, which old records must go on to fit.
    """
    if request.name is None:
        return request
    try:
        return request.model_copy(update={"name": check_name(request.name)})
    except ValueError as error:
        raise FaceterError(ProblemKind.INVALID_REQUEST, f"The name {error}.", field="name") from error


def _mismatch(detail: str, field: str) -> FaceterError:
    return FaceterError(ProblemKind.DATASET_MISMATCH, detail, field=field)


def _already_quantized(model: Model) -> FaceterError:
    origin = f"; quantize {model.derived_from}, the model it was made from" if model.derived_from else ""
    return FaceterError(ProblemKind.ALREADY_QUANTIZED, f"{model.id} is quantized already{origin}.")


def _check_takes_pictures(model: Model, dataset: Dataset, field: str) -> None:
    if model.metadata.task is Task.SIGNAL_CLASSIFICATION:
        raise _wrong_kind(dataset, "the model takes signals", field)
    if model.metadata.preprocessing is None or len(model.inputs) != 1:
        raise _mismatch(
            "The model's metadata has no `preprocessing` for its one input, so it is not known how pictures become it. "
            "Leave the data set out, or upload the model again with preprocessing.",
            field,
        )


def _class_count(model: Model) -> int | None:
    """Return how many classes a model tells apart, if its output says so."""
    sizes = class_output(model.metadata, model.outputs).shape[1:]
    return sizes[0] if sizes and isinstance(sizes[0], int) else None


def _wrong_kind(dataset: Dataset, but: str, field: str) -> FaceterError:
    return FaceterError(
        ProblemKind.WRONG_DATASET_KIND, f"{dataset.id} is of kind {dataset.kind}; {but}. Choose another.", field=field
    )

"""Asking for a quantization: everything that can be known to be wrong is said before a job is made of it."""

from app.services.jobs.queue import JobQueue
from app.services.locks import holding
from app.services.quantizations.checks import check_method, check_said, check_settings
from app.services.sources import Sources, check_operators, with_name
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, QuantizationJob
from faceter.contracts.models import Model
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.grading import GRADED_BY
from faceter.graphs.canonical import canonicalize
from faceter.graphs.describe import is_quantized
from faceter.graphs.sites import quantizable
from faceter.store.library import Library

_DATASET_FIELDS = ("calibration_dataset_id", "evaluation_dataset_id")


class Quantizations:
    """Makes jobs of quantization requests. Every method blocks: it is to be called in a thread.

    Args:
        library: Where models and datasets are.
        queue: Where jobs go.
        settings: Limits.
    """

    def __init__(self, library: Library, queue: JobQueue, settings: Settings) -> None:
        self._library = library
        self._queue = queue
        self._settings = settings
        self._sources = Sources(library, settings)

    def request(self, model_id: str, request: QuantizationRequest) -> Job:
        """Check a request and queue the job.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a dataset that does not exist,
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
        request = with_name(request)
        self._check_datasets(model, request)
        self._check_graph(model, request)
        specification = QuantizationJob(model_id=model_id, request=request)
        with holding(self._library.redis, specification.uses):
            self._library.models.get(model_id)
            for field in _DATASET_FIELDS:
                self._dataset(request, field)
            return self._queue.enqueue(specification)

    def again(self, job: QuantizationJob) -> Job:
        """Queue what an earlier job was to do, if that can still be done.

        Raises:
            FaceterError: What `request` raises.
        """
        return self._queue_job(job.model_id, job.request)

    def _check_graph(self, model: Model, request: QuantizationRequest) -> None:
        graph = self._sources.graph(model)
        if is_quantized(graph):
            raise _already_quantized(model)
        check_operators(graph, "Quantization")
        canonical = canonicalize(graph)
        quantizable(canonical)
        check_method(request.method, model.metadata, canonical)

    def _check_datasets(self, model: Model, request: QuantizationRequest) -> None:
        for field in _DATASET_FIELDS:
            dataset = self._dataset(request, field)
            if dataset is not None:
                self._sources.check_takes(model, dataset, field, otherwise="leave the dataset out")
                if field == "evaluation_dataset_id":
                    self._check_evaluation(model, dataset, field)

    def _dataset(self, request: QuantizationRequest, field: str) -> Dataset | None:
        id = getattr(request, field)
        return None if id is None else self._sources.dataset(id, field)

    def _check_evaluation(self, model: Model, dataset: Dataset, field: str) -> None:
        """See that accuracy can be measured; for tasks that have none, any images show how well outputs agree."""
        task = model.metadata.task
        if task in GRADED_BY:
            self._sources.check_labelled(model, dataset, field, f"the evaluation of {task}")


def _already_quantized(model: Model) -> FaceterError:
    origin = f"; quantize {model.derived_from_id}, the model it was made from" if model.derived_from_id else ""
    return FaceterError(ProblemKind.ALREADY_QUANTIZED, f"{model.id} is quantized already{origin}.")

"""Quantizations: submit a request, list the quantized models of a model."""

from app.services.core import Core
from app.services.input_shapes import validate_input_shapes
from app.services.job_inputs import JobInputs, check_operators
from app.services.jobs.submission import JobSubmitter
from app.services.models.service import ModelService
from app.services.quantizations.validation import validate_method, validate_options, validate_settings
from faceter.contracts.base import Page
from faceter.contracts.datasets import Dataset
from faceter.contracts.jobs import Job, QuantizationJob
from faceter.contracts.models import Model, ModelFilter, ModelSummary
from faceter.contracts.quantizations import QuantizationRequest
from faceter.datasets.accuracy import KIND_OF_TASK
from faceter.graphs.canonical import canonicalize
from faceter.graphs.finite_weights import check_finite_weights
from faceter.graphs.float_tail import split_tail
from faceter.graphs.quantization_sites import find_quantization_sites
from faceter.graphs.quantized_operators import already_quantized, check_not_quantized


class QuantizationService(JobSubmitter[QuantizationJob]):
    """Submits quantization jobs."""

    def __init__(self, core: Core) -> None:
        super().__init__(core)
        self._inputs = JobInputs(core.library, core.settings)

    def request(self, model_id: str, request: QuantizationRequest) -> Job:
        """Submit the quantization of a model.

        Raises:
            FaceterError: `INVALID_REQUEST` for contradictory settings; the errors of `validate`;
                `OVERLOADED`.
        """
        validate_options(request)
        return self.submit(QuantizationJob(model_id=model_id, request=request))

    def validate(self, specification: QuantizationJob) -> QuantizationJob:
        """Check that a model can be quantized as requested.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a missing dataset or
                exceeded limits; `ALREADY_QUANTIZED`, `UNSUPPORTED_OPERATOR`,
                `NOTHING_TO_QUANTIZE`, `METHOD_NOT_APPLICABLE`, `WRONG_DATASET_KIND`, `DATASET_MISMATCH`.
        """
        request = specification.request
        validate_settings(request, self.settings)
        model = self.library.models.get(specification.model_id)
        if model.quantization is not None:
            raise already_quantized(
                model.id, model.derived_from_id, f"it was quantized here by {model.quantization.settings.method}"
            )
        self._check_datasets(model, request)
        self._check_graph(model, request)
        return specification

    def of_model(self, model_id: str, limit: int, cursor: str | None) -> Page[ModelSummary]:
        """Return one page of the quantized models derived from a model, newest first.

        Raises:
            FaceterError: `NOT_FOUND` for the model; `INVALID_REQUEST` for a bad cursor.
        """
        self.library.models.get(model_id)
        models = self.core.service(ModelService)
        return models.page(limit, cursor, ModelFilter(derived_from_id=model_id, quantized=True))

    def _check_graph(self, model: Model, request: QuantizationRequest) -> None:
        graph = self._inputs.graph(model)
        check_not_quantized(graph, model.id, model.derived_from_id)
        check_finite_weights(graph)
        graph, _ = split_tail(graph)
        check_operators(graph, "Quantization")
        canonical = canonicalize(graph)
        find_quantization_sites(canonical)
        validate_method(request.method, model.metadata, canonical)
        validate_input_shapes(
            self.core, model, lambda: graph, request.input_shapes, given_by_data=bool(request.references)
        )

    def _check_datasets(self, model: Model, request: QuantizationRequest) -> None:
        for field, reference in request.references.items():
            dataset = self._inputs.dataset(reference.id, field)
            self._inputs.check_compatible(model, dataset, field, otherwise="leave the dataset out")
            if field == "evaluation_dataset_id":
                self._check_evaluation(model, dataset, field)

    def _check_evaluation(self, model: Model, dataset: Dataset, field: str) -> None:
        """Check that accuracy can be measured; for tasks without accuracy, agreement is measured on any inputs."""
        task = model.metadata.task
        if task in KIND_OF_TASK:
            self._inputs.check_labelled(model, dataset, field, f"the evaluation of {task}")

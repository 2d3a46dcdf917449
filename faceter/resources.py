"""Descriptors of the resources, used by the store, the API and jobs.

A new resource needs a name in `faceter/contracts/references.py` and a descriptor here. Its records in Redis, references
of its files, addresses, links, lists and downloads are derived from it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from faceter.contracts import references
from faceter.contracts.analyses import Analysis, AnalysisFilter, AnalysisSummary
from faceter.contracts.base import Contract, StoredRecord, new_id
from faceter.contracts.datasets import Dataset, DatasetFilter, DatasetKind, DatasetSummary
from faceter.contracts.evaluations import Evaluation, EvaluationFilter, EvaluationSummary
from faceter.contracts.explanations import Explanation, ExplanationFilter, ExplanationSummary
from faceter.contracts.models import Model, ModelFilter, ModelSummary
from faceter.contracts.references import ResourceName, ResourceReference
from faceter.contracts.translators import Translator, TranslatorFilter, TranslatorSummary

JOB_PREFIX: Final = "job"
"""Prefix of a job's id."""


R = TypeVar("R", bound=StoredRecord)


@dataclass(frozen=True)
class FileType:
    """Returns the type of a record's own file."""

    suffix: str
    """File name extension."""
    media_type: str
    """Media type; `application/octet-stream` if none is registered."""


@dataclass(frozen=True)
class Resource(Generic[R]):
    """Descriptor of a resource."""

    name: ResourceName
    """Its collection: in addresses `/v1/{name}`, and in Redis keys."""
    prefix: str
    """Prefix of its ids."""
    noun: str
    """Singular name in messages, in operation ids and as `{noun}_id`."""
    contract: type[R]
    """Type of its records."""
    summary: type[Contract]
    """Type of the list items; has a class method `of(record)`."""
    filter: type[Contract]
    """Type of the list filter; has a method `matches(record)`."""
    file_types: tuple[FileType, ...]
    """All possible types of a record's own file."""
    file_type: Callable[[R], FileType]
    """Returns the type of a record's own file."""
    references: Callable[[R], Mapping[str, ResourceReference]]
    """Returns the references of a record, by link name."""
    views: tuple[str, ...] = ()
    """Subresources of a record for GET."""
    actions: Mapping[str, str] | None = None
    """Subresources of a record for POST, by the name of the action."""
    read_by_jobs: bool = False
    """Whether jobs read it: a record cannot be deleted while a job that reads it is queued or running."""

    def new_id(self) -> str:
        """Return a new id."""
        return new_id(self.prefix)

    def record_id_for_job(self, job_id: str) -> str:
        """Return the id of the record that a job creates: this resource's prefix and the suffix of the job's id."""
        return f"{self.prefix}_{job_id.removeprefix(f'{JOB_PREFIX}_')}"

    def job_id_for_record(self, id: str) -> str | None:
        """Return the id of the job that creates the record of an id; None for an id of another resource."""
        prefix = f"{self.prefix}_"
        return f"{JOB_PREFIX}_{id.removeprefix(prefix)}" if id.startswith(prefix) else None

    def reference(self, record: R) -> ResourceReference:
        """Return the reference to a record."""
        return ResourceReference(resource=self.name, id=record.id)


_ONNX: Final = FileType(".onnx", "application/octet-stream")
_ZIP: Final = FileType(".zip", "application/zip")
_NPZ: Final = FileType(".npz", "application/octet-stream")
_TEXT: Final = FileType(".txt", "application/octet-stream")
_JSON: Final = FileType(".json", "application/json")
_NPZ_KINDS: Final = (DatasetKind.SIGNALS, DatasetKind.TENSORS, DatasetKind.FEATURES)


def _present(named: Mapping[str, ResourceReference | None]) -> dict[str, ResourceReference]:
    return {name: reference for name, reference in named.items() if reference is not None}


def _model_references(model: Model) -> dict[str, ResourceReference]:
    tuning = model.quantization.tuning if model.quantization else None
    synthetic = tuning.synthetic_dataset_id if tuning else None
    return _present(
        {
            "derived_from": references.model(model.derived_from_id) if model.derived_from_id else None,
            "synthetic_dataset": references.dataset(synthetic) if synthetic else None,
        }
    )


def _dataset_file_type(dataset: Dataset) -> FileType:
    if dataset.kind is DatasetKind.TEXTS:
        return _TEXT
    return _NPZ if dataset.kind in _NPZ_KINDS else _ZIP


def _dataset_references(dataset: Dataset) -> dict[str, ResourceReference]:
    return {} if dataset.derived_from_id is None else {"derived_from": references.model(dataset.derived_from_id)}


def _evaluation_references(evaluation: Evaluation) -> dict[str, ResourceReference]:
    extractor = evaluation.features.model_id
    return _present(
        {
            "reference": references.dataset(evaluation.settings.reference_id),
            "generated": references.dataset(evaluation.settings.generated_id),
            "model": None if extractor is None else references.model(extractor),
        }
    )


def _explanation_references(explanation: Explanation) -> dict[str, ResourceReference]:
    return {
        "model": references.model(explanation.model_id),
        "dataset": references.dataset(explanation.settings.dataset_id),
    }


def _translator_references(translator: Translator) -> dict[str, ResourceReference]:
    return _present(
        {
            "job": None if translator.job_id is None else references.job(translator.job_id),
            "dataset": None if translator.settings is None else references.dataset(translator.settings.dataset_id),
            **{direction.value: references.model(id) for direction, id in translator.model_ids.items()},
        }
    )


MODELS: Final = Resource(
    name=ResourceName.MODELS,
    prefix="mdl",
    noun="model",
    contract=Model,
    summary=ModelSummary,
    filter=ModelFilter,
    file_types=(_ONNX,),
    file_type=lambda _: _ONNX,
    references=_model_references,
    views=("graph", "quantizations", "explanations", "units"),
    actions={"predict": "predict", "quantize": "quantizations", "explain": "explanations"},
    read_by_jobs=True,
)

DATASETS: Final = Resource(
    name=ResourceName.DATASETS,
    prefix="dts",
    noun="dataset",
    contract=Dataset,
    summary=DatasetSummary,
    filter=DatasetFilter,
    file_types=(_ZIP, _NPZ, _TEXT),
    file_type=_dataset_file_type,
    references=_dataset_references,
    read_by_jobs=True,
)

EVALUATIONS: Final = Resource(
    name=ResourceName.EVALUATIONS,
    prefix="evl",
    noun="evaluation",
    contract=Evaluation,
    summary=EvaluationSummary,
    filter=EvaluationFilter,
    file_types=(_NPZ,),
    file_type=lambda _: _NPZ,
    references=_evaluation_references,
    views=("samples",),
)

EXPLANATIONS: Final = Resource(
    name=ResourceName.EXPLANATIONS,
    prefix="exp",
    noun="explanation",
    contract=Explanation,
    summary=ExplanationSummary,
    filter=ExplanationFilter,
    file_types=(_JSON,),
    file_type=lambda _: _JSON,
    references=_explanation_references,
    views=("units", "analyses"),
    actions={"analyse": "analyses"},
    read_by_jobs=True,
)

ANALYSES: Final = Resource(
    name=ResourceName.ANALYSES,
    prefix="anl",
    noun="analysis",
    contract=Analysis,
    summary=AnalysisSummary,
    filter=AnalysisFilter,
    file_types=(_JSON,),
    file_type=lambda _: _JSON,
    references=lambda analysis: {"explanation": references.explanation(analysis.explanation_id)},
)

TRANSLATORS: Final = Resource(
    name=ResourceName.TRANSLATORS,
    prefix="trl",
    noun="translator",
    contract=Translator,
    summary=TranslatorSummary,
    filter=TranslatorFilter,
    file_types=(_ZIP,),
    file_type=lambda _: _ZIP,
    references=_translator_references,
    views=("samples", "curves"),
    actions={"translate": "translate"},
    read_by_jobs=True,
)

RESOURCES: Final[tuple[Resource[Any], ...]] = (MODELS, DATASETS, EVALUATIONS, EXPLANATIONS, ANALYSES, TRANSLATORS)
"""All resources with records in the library; jobs are stored by the queue."""

_BY_CONTRACT: Final = {resource.contract: resource for resource in RESOURCES}


def resource_of(record: StoredRecord) -> Resource[Any]:
    """Return the resource of a record.

    Raises:
        KeyError: If its type belongs to no resource.
    """
    return _BY_CONTRACT[type(record)]

"""Jobs: long-running work. Each kind has one specification here and one function in ``workers/tasks.py``."""

from abc import abstractmethod
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from faceter.contracts import references
from faceter.contracts.analyses import AnalysisRequest, DriftRequest, InterpretabilityRequest
from faceter.contracts.base import Contract, Provenance, Timestamp
from faceter.contracts.errors import Problem
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.job_progress import JobStatus as JobStatus
from faceter.contracts.job_progress import Progress as Progress
from faceter.contracts.job_progress import Training as Training
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.queue_names import QueueName as QueueName
from faceter.contracts.references import ResourceName, ResourceReference
from faceter.contracts.translators import TranslatorTraining


class JobKind(StrEnum):
    """Kind of a job; also the name of its function in ``workers/tasks.py``."""

    QUANTIZATION = "quantization"
    """Quantize a model."""
    EVALUATION = "evaluation"
    """Grade generated samples against real ones."""
    EXPLANATION = "explanation"
    """Explain the units of a model."""
    ANALYSIS = "analysis"
    """Analyse an explanation."""
    TRANSLATION = "translation"
    """Train a translator."""


class Specification(Contract):
    """Specification of a job. Each kind of job has one subclass, which is a member of `JobSpecification`."""

    result: ClassVar[ResourceName]
    """Collection of the result."""
    addressed: ClassVar[tuple[str, ...]] = ()
    """Fields taken from the URL of the request, not from its body."""

    @property
    @abstractmethod
    def references(self) -> dict[str, ResourceReference]:
        """Resources that the job reads, by the path of the field that references them."""

    @property
    def queue(self) -> QueueName:
        """Queue in which the job waits."""
        return QueueName.GPU

    @property
    def uses(self) -> list[str]:
        """Distinct ids of the resources that the job reads."""
        return list(dict.fromkeys(reference.id for reference in self.references.values()))


class QuantizationJob(Specification):
    """Quantize a model."""

    result = ResourceName.MODELS
    addressed = ("model_id",)

    kind: Literal[JobKind.QUANTIZATION] = JobKind.QUANTIZATION
    """Kind of job."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model to quantize."""
    request: QuantizationRequest
    """Settings of the quantization."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The model and the datasets of the request."""
        return {"model_id": references.model(self.model_id), **self.request.references}

    @property
    def queue(self) -> QueueName:
        """`gpu` for methods with tuning, else `quick`."""
        return QueueName.GPU if self.request.method.tuned else QueueName.QUICK


class EvaluationJob(Specification):
    """Grade generated samples."""

    result = ResourceName.EVALUATIONS

    kind: Literal[JobKind.EVALUATION] = JobKind.EVALUATION
    """Kind of job."""
    request: EvaluationRequest
    """Settings of the evaluation."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The datasets and models of the request."""
        return self.request.references


class ExplanationJob(Specification):
    """Explain the units of a model."""

    result = ResourceName.EXPLANATIONS
    addressed = ("model_id",)

    kind: Literal[JobKind.EXPLANATION] = JobKind.EXPLANATION
    """Kind of job."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model to explain."""
    request: ExplanationRequest
    """Settings of the explanation."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The model and the probe dataset."""
        return {"model_id": references.model(self.model_id), **self.request.references}


class AnalysisJob(Specification):
    """Analyse an explanation."""

    result = ResourceName.ANALYSES
    addressed = ("explanation_id",)

    kind: Literal[JobKind.ANALYSIS] = JobKind.ANALYSIS
    """Kind of job."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the explanation to analyse."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the explained model."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the probe dataset of the explanation."""
    request: AnalysisRequest
    """Settings of the analysis."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The explanation, its model and dataset, and the resources of the request."""
        named: dict[str, ResourceReference] = {}
        match self.request:
            case DriftRequest(model_ids=ids):
                named = {f"model_ids.{number}": references.model(id) for number, id in enumerate(ids)}
            case InterpretabilityRequest(dataset_id=str() as id):
                named = {"labelled_dataset_id": references.dataset(id)}
            case _:
                pass
        return {
            "explanation_id": references.explanation(self.explanation_id),
            "model_id": references.model(self.model_id),
            "dataset_id": references.dataset(self.dataset_id),
            **named,
        }

    @property
    def queue(self) -> QueueName:
        """`quick`."""
        return QueueName.QUICK


class TranslationJob(Specification):
    """Train a translator."""

    result = ResourceName.TRANSLATORS

    kind: Literal[JobKind.TRANSLATION] = JobKind.TRANSLATION
    """Kind of job."""
    request: TranslatorTraining
    """Settings of the training."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The datasets, models and translators of the request."""
        return self.request.references


JobSpecification = Annotated[
    QuantizationJob | EvaluationJob | ExplanationJob | AnalysisJob | TranslationJob, Field(discriminator="kind")
]
"""Specification of a job: kind, settings and input resources."""


class JobResult(ResourceReference):
    """Result of a job."""

    by_products: list[ResourceReference] = Field(
        default_factory=list, examples=[[{"resource": "datasets", "id": "dts_4x8k2m9q0v7r3t6w1y5z"}]]
    )
    """Further resources made by the job, such as the dataset of synthetic inputs used for tuning."""

    @property
    def all(self) -> list[ResourceReference]:
        """All resources made by the job, the result first."""
        return [ResourceReference(resource=self.resource, id=self.id), *self.by_products]


class JobFilter(Contract):
    """Filter of the list of jobs."""

    status: JobStatus | None = None
    """Only jobs with this status."""
    kind: JobKind | None = None
    """Only jobs of this kind."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only jobs that use this model as input or made it."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Only jobs that use this dataset as input or made it."""

    def matches(self, job: "Job") -> bool:
        """Return whether a job matches the filter."""
        made = [] if job.result is None else [reference.id for reference in job.result.all]
        resources = {*job.specification.uses, *made}
        return (
            self.status in (None, job.status)
            and self.kind in (None, job.kind)
            and all(id is None or id in resources for id in (self.model_id, self.dataset_id))
        )


class JobSummary(Contract):
    """Job as an item of a list; `links.self` is the full record."""

    id: str = Field(examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    kind: JobKind
    """Kind of job."""
    status: JobStatus
    """Status of the job."""
    created_at: Timestamp
    """Time of the request."""
    started_at: Timestamp | None = None
    """Start of the last attempt."""
    ended_at: Timestamp | None = None
    """Time when it ended."""
    attempts: int = 0
    """Number of attempts; more than one if a worker died."""
    progress: Progress | None = None
    """Progress of the job."""
    ending: bool = False
    """Whether it was requested to finish early with the best result so far (`POST …/finish`)."""
    result: JobResult | None = None
    """Result, after the job has succeeded."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/jobs/job_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""

    @staticmethod
    def of(job: "Job") -> "JobSummary":
        """Return the summary of a job."""
        fields = JobSummary.model_fields
        return JobSummary(**{name: getattr(job, name) for name in fields if name != "links"})


class Job(JobSummary):
    """A job with its status, progress and result."""

    specification: JobSpecification
    """Specification of the job."""
    error: Problem | None = None
    """Error, if the job failed."""
    provenance: Provenance | None = None
    """Everything needed to reproduce the result, after the job has succeeded."""
    actions: dict[str, str] = Field(
        default_factory=dict, examples=[{"cancel": "/v1/jobs/job_4x8k2m9q0v7r3t6w1y5z/cancel"}]
    )
    """URLs to POST to: `cancel` and `finish` until the job has ended, then `rerun`."""

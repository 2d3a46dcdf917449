"""Jobs: the long work. One kind is one specification here and one function in ``workers/tasks.py``."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from faceter.contracts.analyses import AnalysisRequest, DriftRequest, InterpretabilityRequest
from faceter.contracts.base import Contract, Provenance, Timestamp
from faceter.contracts.errors import Problem
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.quantizations import QuantizationRequest


class JobKind(StrEnum):
    """What sort of work a job is; the name of its function in ``workers/tasks.py``."""

    QUANTIZATION = "quantization"
    """Make a quantized model of a model."""
    EVALUATION = "evaluation"
    """Grade generated samples against real ones."""
    EXPLANATION = "explanation"
    """Say what units of a model detect."""
    ANALYSIS = "analysis"
    """Analyse an explanation."""


class JobStatus(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


class QuantizationJob(Contract):
    """Quantize a model."""

    kind: Literal[JobKind.QUANTIZATION] = JobKind.QUANTIZATION
    """What sort of work it is."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model to quantize."""
    request: QuantizationRequest
    """How."""

    @property
    def uses(self) -> list[str]:
        """Ids of the models and data sets the job reads."""
        datasets = (self.request.calibration_dataset, self.request.evaluation_dataset)
        return [self.model_id, *(dataset for dataset in datasets if dataset)]


class EvaluationJob(Contract):
    """Grade generated samples."""

    kind: Literal[JobKind.EVALUATION] = JobKind.EVALUATION
    """What sort of work it is."""
    request: EvaluationRequest
    """What against what."""

    @property
    def uses(self) -> list[str]:
        """Ids of the models and data sets the job reads."""
        return self.request.uses


class ExplanationJob(Contract):
    """Say what units of a model detect."""

    kind: Literal[JobKind.EXPLANATION] = JobKind.EXPLANATION
    """What sort of work it is."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model to explain."""
    request: ExplanationRequest
    """By which concepts, and how."""

    @property
    def uses(self) -> list[str]:
        """Ids of the models and data sets the job reads."""
        return [self.model_id, self.request.dataset]


class AnalysisJob(Contract):
    """Analyse an explanation."""

    kind: Literal[JobKind.ANALYSIS] = JobKind.ANALYSIS
    """What sort of work it is."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation to analyse."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model it explains."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The data set it was made with."""
    request: AnalysisRequest
    """What to analyse."""

    @property
    def uses(self) -> list[str]:
        """Ids of the explanation, models and data sets the job reads."""
        ids = [self.explanation_id, self.model_id, self.dataset_id]
        match self.request:
            case DriftRequest(models=models):
                ids.extend(models)
            case InterpretabilityRequest(dataset=str() as dataset):
                ids.append(dataset)
            case _:
                pass
        return list(dict.fromkeys(ids))


JobSpecification = Annotated[
    QuantizationJob | EvaluationJob | ExplanationJob | AnalysisJob, Field(discriminator="kind")
]
"""What a job is to do."""


class Training(Contract):
    """How a job that trains stands."""

    phase: str = Field(examples=["tuning"])
    """What is being done."""
    step: int = Field(examples=[400])
    """Steps taken."""
    losses: dict[str, float] = Field(default_factory=dict, examples=[{"kl": 0.031, "features": 0.012}])
    """Mean of each loss of late, by name."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """Agreement with the original on held-out inputs when last measured."""
    accuracy: float | None = Field(default=None, ge=0, le=1, examples=[0.87])
    """Accuracy on a part of the evaluation data when last measured; for you to see, nothing is chosen by it."""


class Progress(Contract):
    """How far a running job is."""

    step: str = Field(examples=["evaluating"])
    """What it is doing, in a word or a few."""
    fraction: float = Field(ge=0, le=1, examples=[0.4])
    """How much of the whole job is done."""
    eta_seconds: float | None = Field(default=None, ge=0, examples=[12.5])
    """Seconds left, as estimated; null where it cannot be told."""
    training: Training | None = None
    """For a job that trains: its losses and how good it is by now."""
    updated_at: Timestamp
    """When this was said."""


class JobResult(Contract):
    """What a job made."""

    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model it made."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The data set it made on the way, such as the synthetic inputs a model was tuned on."""
    evaluation_id: str | None = Field(default=None, examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """The evaluation it made."""
    explanation_id: str | None = Field(default=None, examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation it made."""
    analysis_id: str | None = Field(default=None, examples=["anl_4x8k2m9q0v7r3t6w1y5z"])
    """The analysis it made."""
    url: str = Field(examples=["/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Where to find it."""


class Job(Contract):
    """A piece of long work and where it is."""

    id: str = Field(examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    kind: JobKind
    """What sort of work it is."""
    status: JobStatus
    """Where it is."""
    created_at: Timestamp
    """When it was asked for."""
    started_at: Timestamp | None = None
    """When a worker last took it up."""
    ended_at: Timestamp | None = None
    """When it ended."""
    attempts: int = 0
    """How often it was started; more than once if a worker died."""
    progress: Progress | None = None
    """How far it is."""
    ending: bool = False
    """Whether it was asked to end soon and keep the best it has (`DELETE …?keep=best`)."""
    specification: JobSpecification
    """What it is to do."""
    result: JobResult | None = None
    """What it made, once it succeeded."""
    error: Problem | None = None
    """Why it failed, if it did."""
    provenance: Provenance | None = None
    """Everything needed to make its result again, once it succeeded."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/jobs/job_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""

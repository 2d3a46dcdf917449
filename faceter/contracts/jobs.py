"""Jobs: the long work. One kind is one specification here and one function in ``workers/tasks.py``."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from faceter.contracts.analyses import AnalysisRequest, DriftRequest, InterpretabilityRequest
from faceter.contracts.base import Contract, Provenance, Timestamp
from faceter.contracts.errors import Problem
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.job_progress import JobStatus as JobStatus
from faceter.contracts.job_progress import Progress as Progress
from faceter.contracts.job_progress import Training as Training
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.translators import TranslatorTraining


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
    TRANSLATION = "translation"
    """Train a translator."""


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
        """Ids of the models and datasets the job reads."""
        datasets = (self.request.calibration_dataset_id, self.request.evaluation_dataset_id)
        return [self.model_id, *(dataset for dataset in datasets if dataset)]


class EvaluationJob(Contract):
    """Grade generated samples."""

    kind: Literal[JobKind.EVALUATION] = JobKind.EVALUATION
    """What sort of work it is."""
    request: EvaluationRequest
    """What against what."""

    @property
    def uses(self) -> list[str]:
        """Ids of the models and datasets the job reads."""
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
        """Ids of the models and datasets the job reads."""
        return [self.model_id, self.request.dataset_id]


class AnalysisJob(Contract):
    """Analyse an explanation."""

    kind: Literal[JobKind.ANALYSIS] = JobKind.ANALYSIS
    """What sort of work it is."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation to analyse."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model it explains."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The dataset it was made with."""
    request: AnalysisRequest
    """What to analyse."""

    @property
    def uses(self) -> list[str]:
        """Ids of the explanation, models and datasets the job reads."""
        ids = [self.explanation_id, self.model_id, self.dataset_id]
        match self.request:
            case DriftRequest(model_ids=models):
                ids.extend(models)
            case InterpretabilityRequest(dataset_id=str() as dataset):
                ids.append(dataset)
            case _:
                pass
        return list(dict.fromkeys(ids))


class TranslationJob(Contract):
    """Train a translator."""

    kind: Literal[JobKind.TRANSLATION] = JobKind.TRANSLATION
    """What sort of work it is."""
    request: TranslatorTraining
    """On what, and how."""

    @property
    def uses(self) -> list[str]:
        """Ids of the datasets, models and translators the job reads."""
        return self.request.uses


JobSpecification = Annotated[
    QuantizationJob | EvaluationJob | ExplanationJob | AnalysisJob | TranslationJob, Field(discriminator="kind")
]
"""What a job is to do."""


class JobResult(Contract):
    """What a job made."""

    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model it made."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The dataset it made on the way, such as the synthetic inputs a model was tuned on."""
    evaluation_id: str | None = Field(default=None, examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """The evaluation it made."""
    explanation_id: str | None = Field(default=None, examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation it made."""
    analysis_id: str | None = Field(default=None, examples=["anl_4x8k2m9q0v7r3t6w1y5z"])
    """The analysis it made."""
    translator_id: str | None = Field(default=None, examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """The translator it made."""
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

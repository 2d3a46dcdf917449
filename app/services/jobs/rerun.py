"""Jobs as the API shows them, and doing one again."""

from typing import assert_never

from pydantic import Field

from app.services.analyses.service import Analyses
from app.services.evaluations.service import Evaluations
from app.services.explanations.service import Explanations
from app.services.jobs.queue import JobQueue
from app.services.quantizations.service import Quantizations
from app.services.translators.service import Translators
from app.services.translators.training import translator_id
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import (
    AnalysisJob,
    EvaluationJob,
    ExplanationJob,
    Job,
    JobKind,
    JobStatus,
    QuantizationJob,
    TranslationJob,
)


class JobFilter(Contract):
    """Which jobs to list."""

    status: JobStatus | None = None
    """Only jobs that stand so."""
    kind: JobKind | None = None
    """Only jobs of this kind."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only jobs that work on this model, or made it."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Only jobs that work on this dataset, or made it."""


class Reruns:
    """Does jobs again; each kind by who made them. Blocks: it is to be called in a thread.

    Args:
        queue: Where jobs are.
        quantizations: Makes jobs of its kind.
        evaluations: Makes jobs of its kind.
        explanations: Makes jobs of its kind.
        analyses: Makes jobs of its kind.
        translators: Makes jobs of its kind.
    """

    def __init__(
        self,
        queue: JobQueue,
        quantizations: Quantizations,
        evaluations: Evaluations,
        explanations: Explanations,
        analyses: Analyses,
        translators: Translators,
    ) -> None:
        self._queue = queue
        self._quantizations = quantizations
        self._evaluations = evaluations
        self._explanations = explanations
        self._analyses = analyses
        self._translators = translators

    def rerun(self, job_id: str) -> Job:
        """Queue a new job that does what an earlier one was to do, if that can still be done.

        Raises:
            FaceterError: `NOT_FOUND` for the job; `JOB_NOT_ENDED` while it goes on; and what the request that made it
                would be refused for now.
        """
        job = self._queue.get(job_id)
        if not job.status.ended:
            raise FaceterError(
                ProblemKind.JOB_NOT_ENDED,
                f"{job_id} is still {job.status}. Wait for it to end, or cancel it with DELETE /v1/jobs/{job_id}.",
            )
        match job.specification:
            case QuantizationJob() as quantization:
                return self._quantizations.again(quantization)
            case EvaluationJob() as evaluation:
                return self._evaluations.again(evaluation)
            case ExplanationJob() as explanation:
                return self._explanations.again(explanation)
            case AnalysisJob() as analysis:
                return self._analyses.again(analysis)
            case TranslationJob() as translation:
                return self._translators.again(translation)
            case other:
                assert_never(other)


def with_links(job: Job) -> Job:
    """Return the job with the addresses that belong to it."""
    here = f"/v1/jobs/{job.id}"
    links = {"self": here, "events": f"{here}/events", "rerun": f"{here}/rerun", **_links_to_sources(job)}
    if job.result is not None:
        links["result"] = job.result.url
        if job.result.dataset_id is not None:
            links["dataset"] = f"/v1/datasets/{job.result.dataset_id}"
    return job.model_copy(update={"links": links})


def _links_to_sources(job: Job) -> dict[str, str]:
    """Return the addresses of what the job works on."""
    match job.specification:
        case QuantizationJob(model_id=model_id):
            return {"model": f"/v1/models/{model_id}"}
        case EvaluationJob(request=request):
            return {
                "reference": f"/v1/datasets/{request.reference_id}",
                "generated": f"/v1/datasets/{request.generated_id}",
            }
        case ExplanationJob(model_id=model_id, request=request):
            return {"model": f"/v1/models/{model_id}", "dataset": f"/v1/datasets/{request.dataset_id}"}
        case AnalysisJob(explanation_id=explanation_id, model_id=model_id, dataset_id=dataset_id):
            return {
                "explanation": f"/v1/explanations/{explanation_id}",
                "model": f"/v1/models/{model_id}",
                "dataset": f"/v1/datasets/{dataset_id}",
            }
        case TranslationJob(request=request):
            here = f"/v1/translators/{translator_id(job.id)}"
            return {
                "translator": here,
                "samples": f"{here}/samples",
                "curves": f"{here}/curves",
                "dataset": f"/v1/datasets/{request.dataset_id}",
            }
        case other:
            assert_never(other)

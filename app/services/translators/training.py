"""Translators in training: what their jobs tell of them, and why something cannot be had of them yet."""

from typing import Any, Final

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus, TranslationJob
from faceter.contracts.translators import TranslatorInTraining

_PREFIX, _JOB_PREFIX = "trl_", "job_"
_ENDED: Final = {JobStatus.FAILED: "failed", JobStatus.CANCELED: "was canceled"}


def translator_id(job_id: str) -> str:
    """Return the id of the translator that a job trains."""
    return _PREFIX + job_id.removeprefix(_JOB_PREFIX)


def training_job(id: str) -> str | None:
    """Return the id of the job that would train a translator; None for what is no translator's id."""
    return _JOB_PREFIX + id.removeprefix(_PREFIX) if id.startswith(_PREFIX) else None


def not_deletable(translator: TranslatorInTraining) -> FaceterError:
    """Return the error for one that is to be deleted and is not there yet, or never will be."""
    if translator.status.ended:
        return FaceterError(
            ProblemKind.JOB_ENDED,
            f"The training of {translator.id} {_ENDED[translator.status]}, and it made no translator: there is nothing "
            "to delete.",
        )
    return FaceterError(
        ProblemKind.RESOURCE_IN_USE,
        f"{translator.id} is no translator yet: its job is {translator.status}. DELETE /v1/jobs/{translator.job_id} "
        "ends it, with `?keep=nothing` so that nothing is left of it.",
        jobs=[translator.job_id],
    )


def not_ready(translator: TranslatorInTraining) -> FaceterError:
    """Return the error for a translator that is asked for something and is not ready."""
    said: dict[str, Any] = {"job_status": translator.status.value, "job": translator.job_id}
    if translator.status.ended:
        return FaceterError(
            ProblemKind.NOT_READY,
            f"The training of {translator.id} {_ENDED[translator.status]}, and it made no translator. "
            f"GET /v1/jobs/{translator.job_id} says more; POST /v1/jobs/{translator.job_id}/rerun begins again.",
            **said,
        )
    progress = translator.progress
    far = f"{progress.fraction:.0%} of it is done" if progress is not None else "it has not begun"
    checkpoint = (
        "`?checkpoint=latest` takes what it is by now" if translator.checkpoint else "there is no checkpoint yet"
    )
    return FaceterError(
        ProblemKind.NOT_READY,
        f"{translator.id} is still in training: {far}; {checkpoint}. Follow it at /v1/jobs/{translator.job_id}/events.",
        **said,
        progress=None if progress is None else progress.model_dump(mode="json"),
        checkpoint=translator.checkpoint,
    )


def in_training(job: Job, *, checkpoint: bool) -> TranslatorInTraining | None:
    """Return the translator that a job is to train, as far as it has come; None if the job has succeeded.

    Args:
        job: A translation job.
        checkpoint: Whether it has a checkpoint.
    """
    assert isinstance(job.specification, TranslationJob)
    if job.status is JobStatus.SUCCEEDED:
        return None
    request = job.specification.request
    return TranslatorInTraining(
        id=translator_id(job.id),
        name=request.name or f"{request.method} of {request.dataset_id}",
        created_at=job.created_at,
        settings=request,
        job_id=job.id,
        status=job.status,
        progress=job.progress,
        checkpoint=checkpoint,
        error=job.error,
    )

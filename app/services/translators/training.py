"""Translators in training: their state, derived from their jobs, and errors for requests that need a ready one."""

from typing import Any, Final

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus, TranslationJob
from faceter.contracts.translators import TranslatorInTraining
from faceter.resources import TRANSLATORS

_ENDED: Final = {JobStatus.FAILED: "failed", JobStatus.CANCELED: "was canceled"}


def not_deletable(translator: TranslatorInTraining) -> FaceterError:
    """Return the error for deleting a translator that is in training, or whose training ended without a result."""
    if translator.status.ended:
        return FaceterError(
            ProblemKind.JOB_ENDED,
            f"The training of {translator.id} {_ENDED[translator.status]}, and it produced no translator: there is "
            "nothing to delete.",
        )
    return FaceterError(
        ProblemKind.RESOURCE_IN_USE,
        f"{translator.id} is still in training: its job {translator.job_id} is {translator.status}. Cancel the job "
        "instead, which deletes everything it stored.",
        job_ids=[translator.job_id],
    )


def not_ready(translator: TranslatorInTraining) -> FaceterError:
    """Return the error for a request that needs a ready translator."""
    details: dict[str, Any] = {"job_status": translator.status.value, "job_id": translator.job_id}
    if translator.status.ended:
        return FaceterError(
            ProblemKind.NOT_READY,
            f"The training of {translator.id} {_ENDED[translator.status]}, and it produced no translator. "
            f"See its job {translator.job_id}, and rerun that to train again.",
            **details,
        )
    progress = translator.progress
    state = f"{progress.fraction:.0%} done" if progress is not None else "not started"
    checkpoint = (
        "`?checkpoint=latest` uses its last checkpoint" if translator.checkpoint else "there is no checkpoint yet"
    )
    return FaceterError(
        ProblemKind.NOT_READY,
        f"{translator.id} is still in training: {state}; {checkpoint}. Its job is {translator.job_id}.",
        **details,
        progress=None if progress is None else progress.model_dump(mode="json"),
        checkpoint=translator.checkpoint,
    )


def in_training(job: Job, *, checkpoint: bool) -> TranslatorInTraining | None:
    """Return the current state of the translator that a job trains; None if the job has succeeded.

    Args:
        job: A translation job.
        checkpoint: Whether it has a checkpoint.
    """
    assert isinstance(job.specification, TranslationJob)
    if job.status is JobStatus.SUCCEEDED:
        return None
    request = job.specification.request
    return TranslatorInTraining(
        id=TRANSLATORS.record_id_for_job(job.id),
        name=request.name or f"{request.method} of {request.dataset_id}",
        created_at=job.created_at,
        settings=request,
        job_id=job.id,
        status=job.status,
        progress=job.progress,
        checkpoint=checkpoint,
        error=job.error,
    )

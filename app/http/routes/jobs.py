"""`/v1/jobs`: follow, cancel, finish and rerun jobs."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.dependencies import AppCore, Jobs
from app.http.idempotency import Once
from app.http.links import job_with_links, page_with_links
from app.http.parameters import ANYWHERE, CREATING, LOCATION, JobId, Paging
from app.http.problems import documented
from app.http.responses import json_response
from app.services.jobs.queue import JobEvent
from faceter.contracts.base import Page
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import ProblemKind
from faceter.contracts.job_logs import JobLog
from faceter.contracts.jobs import Job, JobFilter, JobSummary
from faceter.contracts.references import ResourceName
from faceter.store.job_events import check_last_event_id
from faceter.store.job_logs import MAX_LINES

router = APIRouter(tags=["jobs"])

_NEVER_PING_SECONDS = 3600 * 24

_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`."},
        "event": {"type": "string", "enum": ["status", "progress", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json", "description": "A `Job` or its `Progress`."},
    },
}
"""One event: before OpenAPI 3.2, the schema of a stream is that of its events."""

_EVENTS_EXAMPLE = """id: 1764063000000-0
event: progress
data: {"step":"tuning","fraction":0.4,"eta_seconds":212.5,"training":{"phase":"tuning","step":400,\
"losses":{"kl":0.031},"agreement":0.97,"accuracy":0.87},"updated_at":"2026-11-25T09:30:00Z"}

id: 1764063012500-0
event: end
data: {"id":"job_4x8k2m9q0v7r3t6w1y5z","kind":"quantization","status":"succeeded",…}
"""


class JobQuery(JobFilter, Paging):
    """Filter and page of a list of jobs."""


@router.get(
    "/v1/jobs",
    response_model=Page[JobSummary],
    summary="List jobs",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_jobs(jobs: Jobs, query: Annotated[JobQuery, Query()]) -> Response:
    """List jobs, newest first."""
    return json_response(page_with_links(jobs.page(query.limit, query.cursor, query), ResourceName.JOBS))


@router.get(
    "/v1/jobs/{job_id}",
    response_model=Job,
    summary="Get a job",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_job(job_id: JobId, jobs: Jobs) -> Response:
    """Get a job: its status, `progress` while it runs, `result` if it succeeded, `error` if it failed."""
    return json_response(job_with_links(jobs.get(job_id)))


@router.get(
    "/v1/jobs/{job_id}/error-report.json",
    response_model=ErrorReport,
    summary="Get the report of an internal error",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_error_report(job_id: JobId, jobs: Jobs) -> Response:
    """Get the report of the internal error that ended a job, to attach it to an issue.

    It has versions, the place in the code, the node with the shapes of its inputs, and the request; no weights, no
    samples and no paths of the host. Read it before you publish it: names of tensors and layers are in it.
    """
    response = json_response(jobs.error_report(job_id))
    response.headers["Content-Disposition"] = f'attachment; filename="{job_id}-error-report.json"'
    return response


@router.get(
    "/v1/jobs/{job_id}/log",
    response_model=JobLog,
    summary="Get the log of a job",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def get_job_log(
    job_id: JobId,
    jobs: Jobs,
    last: Annotated[
        int, Query(ge=1, le=MAX_LINES, description="Most lines to return, the last ones.", examples=[100])
    ] = 100,
) -> Response:
    """Get the last lines that the worker logged about a job, oldest first: attempts, steps, warnings and errors.

    The last thousand lines are kept, for as long as the job. Lines below the service's log level are not kept.
    """
    return json_response(jobs.log(job_id, last))


@router.post(
    "/v1/jobs/{job_id}/cancel",
    response_model=Job,
    response_description="Canceled.",
    summary="Cancel a job",
    responses=documented(ProblemKind.NOT_FOUND, ProblemKind.JOB_ENDED, ProblemKind.STORAGE_FULL, *ANYWHERE),
)
def cancel_job(job_id: JobId, jobs: Jobs) -> Response:
    """Cancel a job that is queued or running.

    The worker stops within seconds, and no result is stored.
    """
    return json_response(job_with_links(jobs.cancel(job_id)))


@router.post(
    "/v1/jobs/{job_id}/finish",
    response_model=Job,
    response_description="Canceled, because a queued job has no result.",
    summary="Finish a job early with its best result",
    responses={
        202: {"model": Job, "description": "The job was requested to finish early: `ending` is true."},
        **documented(ProblemKind.NOT_FOUND, ProblemKind.JOB_ENDED, ProblemKind.STORAGE_FULL, *ANYWHERE),
    },
)
def finish_job(job_id: JobId, jobs: Jobs) -> Response:
    """Request a running job to finish early with its best result so far: the best model, or the translator.

    The response is 202 and the job with `ending` true; the job then ends as `succeeded`. A job that does not tune or
    train runs to its normal end. A queued job has no result and is canceled (200), unless it ran before and waits to
    be resumed: it then ends as soon as a worker starts it.
    """
    job = jobs.finish(job_id)
    return json_response(job_with_links(job), 200 if job.status.ended else 202)


@router.post(
    "/v1/jobs/{job_id}/rerun",
    status_code=202,
    response_description="Queued.",
    response_model=Job,
    summary="Run a job again",
    responses={
        202: {"headers": LOCATION},
        **documented(
            ProblemKind.NOT_FOUND,
            ProblemKind.JOB_NOT_ENDED,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.ALREADY_QUANTIZED,
            ProblemKind.UNSUPPORTED_OPERATOR,
            ProblemKind.WRONG_DATASET_KIND,
            ProblemKind.DATASET_MISMATCH,
            ProblemKind.METHOD_NOT_APPLICABLE,
            *CREATING,
            ProblemKind.OVERLOADED,
            *ANYWHERE,
        ),
    },
)
async def rerun_job(job_id: JobId, jobs: Jobs, once: Once) -> Response:
    """Queue a new job with the specification of an ended one, including settings and seed."""
    return await once.submit({}, lambda: jobs.rerun(job_id))


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "A stream of server-sent events that ends with the job.",
            "content": {"text/event-stream": {"schema": _EVENT, "example": _EVENTS_EXAMPLE}},
        },
        **documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
    },
)
async def follow_job(
    job_id: JobId,
    core: AppCore,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="Id of the last received event; the stream continues after it.",
            examples=["1764063000000-0"],
            json_schema_extra={"pattern": r"^([0-9]+-[0-9]+)?$"},
        ),
    ] = None,
) -> Response:
    """Follow a job live by server-sent events.

    `status` has the full job and is sent when the job is queued, started, requeued or requested to finish. `progress`
    has the progress of the job; for jobs that tune or train with `training`: phase, losses, agreement, and accuracy if
    there is evaluation data. `end` has the full job and is always the last event. Idle streams get a comment line as
    heartbeat. Past events are sent first, so a late connection misses nothing.

        curl -N http://localhost:8000/v1/jobs/job_4x8k2m9q0v7r3t6w1y5z/events
    """
    check_last_event_id(last_event_id)
    await run_in_threadpool(core.queue.get, job_id)

    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for event in core.queue.events(job_id, last_event_id):
            yield _sent(event)

    return EventSourceResponse(
        stream(), ping=_NEVER_PING_SECONDS, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _sent(event: JobEvent) -> ServerSentEvent:
    """Return a server-sent event; a heartbeat is a comment, which clients ignore."""
    if event.data is None:
        return ServerSentEvent(comment=event.event)
    data = event.data
    if event.event in ("status", "end"):
        data = job_with_links(Job.model_validate(data)).model_dump(mode="json")
    return ServerSentEvent(json.dumps(data, ensure_ascii=False, separators=(",", ":")), event=event.event, id=event.id)

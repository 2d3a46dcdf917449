"""`/v1/jobs`: follow, cancel and repeat long work."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.http.idempotency import fingerprint
from app.http.parameters import ANYWHERE, CREATING, LOCATION, IdempotencyKey, JobId, Paging, answer
from app.http.problems import documented
from app.services.container import Parts
from app.services.jobs.queue import JobEvent
from app.services.jobs.rerun import JobFilter, with_links
from faceter.contracts.base import Page
from faceter.contracts.errors import ProblemKind
from faceter.contracts.jobs import Job, JobKind
from faceter.store.job_events import check_last_event_id

router = APIRouter(tags=["jobs"])

_NEVER_PING_SECONDS = 3600 * 24

_EVENTS_EXAMPLE = """id: 1764063000000-0
event: progress
data: {"step":"tuning","fraction":0.4,"eta_seconds":212.5,"training":{"phase":"tuning","step":400,\
"losses":{"kl":0.031},"agreement":0.97,"accuracy":0.87},"updated_at":"2026-11-25T09:30:00Z"}

id: 1764063012500-0
event: end
data: {"id":"job_4x8k2m9q0v7r3t6w1y5z","kind":"quantization","status":"succeeded",…}
"""


class JobQuery(JobFilter, Paging):
    """Which jobs, and which page of them."""


@router.get(
    "/v1/jobs",
    response_model=Page[Job],
    summary="List jobs",
    responses=documented(ProblemKind.INVALID_REQUEST, *ANYWHERE),
)
def list_jobs(parts: Parts, query: Annotated[JobQuery, Query()]) -> Response:
    """List jobs, newest first."""
    page = parts.queue.page(query.limit, query.cursor, query.status, query.kind, query.model_id, query.dataset_id)
    return answer(page.model_copy(update={"items": [with_links(job) for job in page.items]}))


@router.get(
    "/v1/jobs/{job_id}",
    response_model=Job,
    summary="Get a job",
    responses=documented(ProblemKind.NOT_FOUND, *ANYWHERE),
)
def get_job(job_id: JobId, parts: Parts) -> Response:
    """Get where a job is: queued, running with `progress`, succeeded with `result`, failed with `error`, canceled."""
    return answer(with_links(parts.queue.get(job_id)))


@router.delete(
    "/v1/jobs/{job_id}",
    response_model=Job,
    response_description="Canceled.",
    summary="Cancel a job, or end it and keep the best",
    responses={
        202: {"model": Job, "description": "Asked to end and keep the best it has: `ending` is true."},
        **documented(
            ProblemKind.NOT_FOUND,
            ProblemKind.JOB_ENDED,
            ProblemKind.INVALID_REQUEST,
            ProblemKind.STORAGE_FULL,
            *ANYWHERE,
        ),
    },
)
def cancel_job(
    job_id: JobId,
    parts: Parts,
    keep: Annotated[
        Literal["best", "nothing"] | None,
        Query(
            description="`best` keeps what the job has so far: it ends as soon as it can, and well, with the best "
            "model it has. `nothing` keeps nothing. If it is not given, a translator in training is kept as it is, and "
            "of any other job nothing.",
            examples=["best"],
        ),
    ] = None,
) -> Response:
    """Cancel a job that is queued or running. A worker that is on it stops within seconds, and nothing is made.

    A translator in training is kept as far as it has come, unless `?keep=nothing`.

    With `?keep=best` a running job ends as soon as it can and keeps the best it has as its model: the answer is 202 and
    the job, `ending` true; follow it to its end, which is `succeeded` with `quantization.tuning.ended_by` `request`. A
    job that does not tune goes through to its end. A queued job has nothing to keep and is canceled (200), unless it
    was running before and waits to go on: it then ends as soon as a worker takes it up.
    """
    keeps = keep == "best" or (keep is None and parts.queue.get(job_id).kind is JobKind.TRANSLATION)
    job = parts.queue.request_end(job_id) if keeps else parts.queue.cancel(job_id)
    return answer(with_links(job), 200 if job.status.ended else 202)


@router.post(
    "/v1/jobs/{job_id}/rerun",
    status_code=202,
    response_description="Queued.",
    response_model=Job,
    summary="Do a job again",
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
async def rerun_job(job_id: JobId, request: Request, parts: Parts, idempotency_key: IdempotencyKey = None) -> Response:
    """Queue a new job that does what an ended one was to do, with the same settings and seed."""

    async def work() -> Response:
        job = await parts.with_graph(lambda: parts.reruns.rerun(job_id))
        return answer(with_links(job), 202, {"Location": f"/v1/jobs/{job.id}"})

    return await parts.idempotency.once(idempotency_key, fingerprint("POST", request.url.path, {}), work)


@router.get(
    "/v1/jobs/{job_id}/events",
    summary="Follow a job",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "A stream of server-sent events that ends with the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EVENTS_EXAMPLE}},
        },
        **documented(ProblemKind.NOT_FOUND, ProblemKind.INVALID_REQUEST, *ANYWHERE),
    },
)
async def follow_job(
    job_id: JobId,
    parts: Parts,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            description="Id of the last event that was received; the stream goes on after it.",
            examples=["1764063000000-0"],
        ),
    ] = None,
) -> Response:
    """Follow a job live, by server-sent events.

    `status` carries the whole job whenever it is queued, taken up, handed back or asked to end, `progress` its progress
    (for a method that tunes, with `training`: phase, losses, agreement, and accuracy if there is evaluation data), and
    `end`, always the last, the whole job. A comment line comes when nothing else does for a while. Events of the past
    come first, so nothing is missed by connecting late.

        curl -N http://localhost:8000/v1/jobs/job_4x8k2m9q0v7r3t6w1y5z/events
    """
    check_last_event_id(last_event_id)
    await run_in_threadpool(parts.queue.get, job_id)

    async def stream() -> AsyncIterator[ServerSentEvent]:
        async for event in parts.queue.events(job_id, last_event_id):
            yield _sent(event)

    return EventSourceResponse(
        stream(), ping=_NEVER_PING_SECONDS, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )


def _sent(event: JobEvent) -> ServerSentEvent:
    """Return an event as it goes over the wire; a heartbeat is a comment, which clients pass over."""
    if event.data is None:
        return ServerSentEvent(comment=event.event)
    data = event.data
    if event.event in ("status", "end"):
        data = with_links(Job.model_validate(data)).model_dump(mode="json")
    return ServerSentEvent(json.dumps(data, ensure_ascii=False, separators=(",", ":")), event=event.event, id=event.id)

"""What is told about a job while it goes on: a bounded stream of events in Redis, which anyone may follow or replay."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import redis.asyncio
from redis.client import Pipeline

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, Progress
from faceter.store.connection import UNREACHABLE

EventName = Literal["status", "progress", "end", "heartbeat"]

MAX_EVENTS: Final = 1000
"""How many events of a job are kept, about; the oldest go first, the last never does."""

_STREAM_ID = re.compile(r"\d{1,20}-\d{1,20}")
_START: Final = "0-0"
_MAX_READ: Final = MAX_EVENTS + 100
_SLICE_SECONDS: Final = 2.0
_AWAY_SECONDS: Final = 1.0


@dataclass(frozen=True)
class JobEvent:
    """One thing told about a job.

    | event | data | when |
    |---|---|---|
    | `status` | the whole job (`Job`) | queued, taken up, handed back (its worker died or stopped) or asked to end |
    | `progress` | `Progress` | it got on, at most about twice a second |
    | `end` | the whole job (`Job`) | it succeeded, failed or was canceled; always the last event |
    | `heartbeat` | none | nothing was told for a while; it has no id and is not replayed |
    """

    id: str | None
    """Position in the stream, to come back to with `Last-Event-ID`; None for a heartbeat."""
    event: EventName
    """What happened."""
    data: dict[str, Any] | None
    """The document that goes with it, as JSON values."""

    @property
    def ends(self) -> bool:
        """Whether nothing more will be told."""
        return self.event == "end"


def stream_key(job_id: str) -> str:
    """Return the Redis key of a job's events."""
    return f"faceter:job:{job_id}:events"


def queue_event(pipeline: Pipeline, job_id: str, event: EventName, document: Job | Progress) -> None:
    """Queue the event's addition to the job's stream on ``pipeline``."""
    fields: dict[Any, Any] = {"event": event, "data": document.model_dump_json()}
    pipeline.xadd(stream_key(job_id), fields, maxlen=MAX_EVENTS, approximate=True)


def check_last_event_id(last_event_id: str | None) -> str:
    """Return where to go on after ``last_event_id``; the beginning if there is none.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `Last-Event-ID`, if it is not an id of our events.
    """
    if not last_event_id:
        return _START
    if not _STREAM_ID.fullmatch(last_event_id):
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            "Last-Event-ID must be the `id` of an event received from this address, such as 1764063000000-0.",
            field="Last-Event-ID",
        )
    return last_event_id


async def follow(
    client: redis.asyncio.Redis, current: Callable[[], Job], job_id: str, last_event_id: str | None, heartbeat: float
) -> AsyncIterator[JobEvent]:
    """Yield a job's events after ``last_event_id``, old ones at once and new ones as they come, until it ends.

    The last event is always `end`. A job that ended without one in its stream (which had been trimmed or had
    expired) gets it made up from its record; so does a reader who comes back after it. While the store is away
    there are heartbeats only, and afterwards it goes on where it was.

    Args:
        client: Used by this reader alone.
        current: Reads the job's record; called seldom, and only in the event loop's worker threads.
        job_id: The job.
        last_event_id: Id of the last event the reader has; None to get all that are kept.
        heartbeat: Longest silence, seconds.

    Raises:
        FaceterError: `INVALID_REQUEST` for a bad ``last_event_id``; `NOT_FOUND` if there is no such job.
    """
    position = check_last_event_id(last_event_id)
    told = time.monotonic()
    wait: float | None = None
    while True:
        entries: list[JobEvent] = []
        ended: Job | None = None
        try:
            entries = await _read(client, job_id, position, wait)
            wait = min(heartbeat, _SLICE_SECONDS)
            if not entries:
                job = await asyncio.to_thread(current)
                if job.status.ended:
                    entries = await _read(client, job_id, position, None)
                    ended = job
        except UNREACHABLE:
            await asyncio.sleep(min(heartbeat, _AWAY_SECONDS))
        except FaceterError as error:
            if error.kind is not ProblemKind.STORE_UNAVAILABLE:
                raise
        for entry in entries:
            yield entry
            if entry.ends:
                return
            position = entry.id or position
            told = time.monotonic()
        if ended is not None:
            yield JobEvent(position, "end", ended.model_dump(mode="json"))
            return
        if time.monotonic() - told >= heartbeat:
            yield JobEvent(None, "heartbeat", None)
            told = time.monotonic()


async def _read(client: redis.asyncio.Redis, job_id: str, position: str, wait: float | None) -> list[JobEvent]:
    block = None if wait is None else max(1, int(wait * 1000))
    answer = await client.xread({stream_key(job_id): position}, count=_MAX_READ, block=block)
    streams = cast(list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]], answer or [])
    return [
        JobEvent(id.decode(), cast(EventName, fields[b"event"].decode()), json.loads(fields[b"data"]))
        for _, entries in streams
        for id, fields in entries
    ]

"""Events of a job: a bounded Redis stream that can be followed live and replayed."""

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
from faceter.store.shard_ids import is_shard

EventName = Literal["status", "progress", "end", "heartbeat"]

MAX_EVENTS: Final = 1000
"""Approximate number of events kept for a job; the oldest are dropped first, the last one never."""

_STREAM_ID = re.compile(r"\d{1,20}-\d{1,20}")
_START: Final = "0-0"
_MAX_READ: Final = MAX_EVENTS + 100
_SLICE_SECONDS: Final = 2.0
_UNREACHABLE_SLEEP_SECONDS: Final = 1.0


@dataclass(frozen=True)
class JobEvent:
    """One event of a job.

    | event | data | when |
    |---|---|---|
    | `status` | the whole job (`Job`) | queued, started, requeued (worker died or stopped) or asked to finish early |
    | `progress` | `Progress` | it made progress; at most about twice a second |
    | `end` | the whole job (`Job`) | it succeeded, failed or was canceled; always the last event |
    | `heartbeat` | none | no event for a while; it has no id and is not replayed |
    """

    id: str | None
    """Position in the stream, for `Last-Event-ID`; None for a heartbeat."""
    event: EventName
    """Type of the event."""
    data: dict[str, Any] | None
    """Its document, as JSON values."""

    @property
    def ends(self) -> bool:
        """Whether this is the last event."""
        return self.event == "end"


def stream_key(job_id: str) -> str:
    """Return the Redis key of a job's events."""
    return f"faceter:job:{job_id}:events"


def queue_event(pipeline: Pipeline, job_id: str, event: EventName, document: Job | Progress) -> None:
    """Queue on ``pipeline`` the addition of an event to the job's stream; a shard has none."""
    if is_shard(job_id):
        return
    fields: dict[Any, Any] = {"event": event, "data": document.model_dump_json()}
    pipeline.xadd(stream_key(job_id), fields, maxlen=MAX_EVENTS, approximate=True)


def check_last_event_id(last_event_id: str | None) -> str:
    """Return the stream position of ``last_event_id``; the beginning if there is none.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `Last-Event-ID`, if it is not the id of a job event.
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
    """Yield a job's events after ``last_event_id``, past ones immediately and new ones as they occur, until it ends.

    The last event is always `end`. If the stream of an ended job does not have it (trimmed, expired, or already
    received by this reader), it is generated from the job's record. While the store is down only heartbeats are
    sent; afterwards the stream continues at the same position.

    Args:
        client: Exclusive to this reader.
        current: Reads the job's record; called rarely, in a worker thread.
        job_id: The job.
        last_event_id: Id of the last event the reader has; None for all events.
        heartbeat: Longest time without an event, seconds.

    Raises:
        FaceterError: `INVALID_REQUEST` for a bad ``last_event_id``; `NOT_FOUND` if there is no such job.
    """
    position = check_last_event_id(last_event_id)
    last_sent = time.monotonic()
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
            await asyncio.sleep(min(heartbeat, _UNREACHABLE_SLEEP_SECONDS))
        except FaceterError as error:
            if error.kind is not ProblemKind.STORE_UNAVAILABLE:
                raise
        for entry in entries:
            yield entry
            if entry.ends:
                return
            position = entry.id or position
            last_sent = time.monotonic()
        if ended is not None:
            yield JobEvent(position, "end", ended.model_dump(mode="json"))
            return
        if time.monotonic() - last_sent >= heartbeat:
            yield JobEvent(None, "heartbeat", None)
            last_sent = time.monotonic()


async def _read(client: redis.asyncio.Redis, job_id: str, position: str, wait: float | None) -> list[JobEvent]:
    block = None if wait is None else max(1, int(wait * 1000))
    reply = await client.xread({stream_key(job_id): position}, count=_MAX_READ, block=block)
    streams = cast(list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]], reply or [])
    return [
        JobEvent(id.decode(), cast(EventName, fields[b"event"].decode()), json.loads(fields[b"data"]))
        for _, entries in streams
        for id, fields in entries
    ]

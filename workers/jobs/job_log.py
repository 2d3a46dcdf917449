"""Stores what the worker logs about a job with the job."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, cast

from redis import Redis
from redis.exceptions import RedisError

from faceter.contracts.job_logs import JobLogLine, LogLevel
from faceter.store import job_logs

_MOST_CHARACTERS: Final = 1000

_attempt: ContextVar[tuple[str, int] | None] = ContextVar("job and attempt that log lines are about", default=None)


@contextmanager
def attempt_log(job_id: str, attempt: int) -> Iterator[None]:
    """Store the log lines of the block with a job, also of a child forked there; not those of other threads."""
    token = _attempt.set((job_id, attempt))
    try:
        yield
    finally:
        _attempt.reset(token)


class JobLogHandler(logging.Handler):
    """Stores log lines in the block of `attempt_log`. What Redis does not take, being away or full, is lost.

    Args:
        redis: The store.
        seconds: How long the lines are kept.
    """

    def __init__(self, redis: Redis, seconds: int) -> None:
        super().__init__()
        self._redis = redis
        self._seconds = seconds

    def emit(self, record: logging.LogRecord) -> None:
        """Store a line without its traceback, which is in the worker's own log."""
        about = _attempt.get()
        if about is None:
            return
        job_id, attempt = about
        with suppress(RedisError):
            line = JobLogLine(
                at=datetime.fromtimestamp(record.created, UTC),
                level=cast(LogLevel, record.levelname.lower()),
                attempt=attempt,
                message=record.getMessage()[:_MOST_CHARACTERS],
            )
            job_logs.append(self._redis, job_id, line, self._seconds)

"""Log lines of a job: a bounded Redis list that expires with the job."""

from typing import Final, cast

from redis import Redis

from faceter.contracts.job_logs import JobLog, JobLogLine

MAX_LINES: Final = 1000
"""Number of lines kept for a job; the oldest are dropped first."""


def log_key(job_id: str) -> str:
    """Return the Redis key of a job's log lines."""
    return f"faceter:job:{job_id}:log"


def append(redis: Redis, job_id: str, line: JobLogLine, seconds: int) -> None:
    """Append a line.

    Args:
        redis: The store.
        job_id: The job.
        line: The line.
        seconds: How long the lines are kept after this one; not positive for ever.
    """
    key = log_key(job_id)
    with redis.pipeline(transaction=False) as pipeline:
        pipeline.rpush(key, line.model_dump_json())
        pipeline.ltrim(key, -MAX_LINES, -1)
        if seconds > 0:
            pipeline.expire(key, seconds)
        pipeline.execute()


def read(redis: Redis, job_id: str, last: int) -> JobLog:
    """Return the last lines of a job; none if it has none, or is unknown."""
    lines = cast(list[bytes], redis.lrange(log_key(job_id), -(last + 1), -1))
    return JobLog(items=[JobLogLine.model_validate_json(line) for line in lines[-last:]], complete=len(lines) <= last)

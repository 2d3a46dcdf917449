"""Counts and durations of ended jobs, stored in Redis so that every API process reports the same values."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, cast

from redis import Redis
from redis.client import Pipeline

from faceter.contracts.jobs import Job

BUCKETS: Final = (1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400)
"""Upper bounds of the duration histogram, seconds."""

_KEY: Final = "faceter:jobs:durations"


@dataclass
class Durations:
    """Durations of the jobs of one kind and outcome, from start to end."""

    count: int = 0
    """Number of jobs."""
    seconds: float = 0.0
    """Total duration, seconds."""
    at_most: dict[int, int] = field(default_factory=lambda: dict.fromkeys(BUCKETS, 0))
    """Cumulative counts: number of jobs with at most this duration, for each bound of `BUCKETS`."""


def queue_end(pipeline: Pipeline, job: Job) -> None:
    """Queue on ``pipeline`` the update of the statistics by an ended job."""
    seconds = 0.0
    if job.started_at is not None and job.ended_at is not None:
        seconds = max(0.0, (job.ended_at - job.started_at).total_seconds())
    name = f"{job.kind}/{job.status}"
    pipeline.hincrby(_KEY, f"{name}/count", 1)
    pipeline.hincrbyfloat(_KEY, f"{name}/seconds", seconds)
    for bound in BUCKETS:
        if seconds <= bound:
            pipeline.hincrby(_KEY, f"{name}/{bound}", 1)


def durations(redis: Redis) -> dict[tuple[str, str], Durations]:
    """Return the durations by kind and outcome (`succeeded`, `failed`, `canceled`)."""
    table: dict[tuple[str, str], Durations] = defaultdict(Durations)
    for raw_name, value in cast(dict[bytes, bytes], redis.hgetall(_KEY)).items():
        kind, status, key = raw_name.decode().split("/")
        entry = table[kind, status]
        if key == "count":
            entry.count = int(value)
        elif key == "seconds":
            entry.seconds = float(value)
        else:
            entry.at_most[int(key)] = int(value)
    return dict(table)

"""Spans of jobs: exported by real workers, as parts of the trace of the request that submitted the job."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import Job, JobStatus
from faceter.contracts.settings import Settings
from faceter.store import job_records
from faceter.tracing.spans import Span, enter, leave
from faceter.tracing.trace_context import TraceContext
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import WorkerProcess, eventually, has

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
from tests.tracing.collector import Collector, ReceivedSpan

pytestmark = pytest.mark.end_to_end

REQUEST = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1, "a=1,b=2")


@pytest.fixture
def queue(redis: Redis, settings: Settings) -> JobQueue:
    return JobQueue(redis, settings.model_copy(update={"job_attempts": 1}), tasks=TASKS)


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        limits = {"job_attempts": 1, "worker_lost_seconds": 5}
        workers.append(WorkerProcess(settings.model_copy(update=limits), tmp_path / "worker.log"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


def submitted(queue: JobQueue, behavior: str, *arguments: object) -> Job:
    """Submit a job in a request with a span."""
    token = enter(Span(REQUEST))
    try:
        return queue.enqueue(job_spec(behavior, *arguments))
    finally:
        leave(token)


def attempts(collector: Collector, job: Job, count: int = 1) -> list[ReceivedSpan]:
    def of_job() -> list[ReceivedSpan]:
        return [span for span in collector.received if span.attributes["faceter.job.id"] == job.id]

    return collector.wait(of_job, count)


def test_spans_of_jobs_that_succeed_and_fail(
    collector: Collector, queue: JobQueue, start: Callable[[], WorkerProcess]
) -> None:
    start()
    before = time.time_ns()
    endings = {"succeeds": None, "refuses": "nothing-to-quantize", "raises": "internal-error"}
    endings |= {"kills-itself": "worker-lost", "hogs": "out-of-memory"}
    jobs = {behavior: submitted(queue, behavior) for behavior in endings}
    found = {}
    for behavior, job in jobs.items():
        (span,) = attempts(collector, job)
        assert (span.name, span.kind) == ("quantization job", "CONSUMER")
        assert (span.trace_id, span.parent_id, span.state) == (REQUEST.trace_id, REQUEST.span_id, REQUEST.state)
        assert (span.attributes["faceter.job.kind"], span.attributes["faceter.job.attempt"]) == ("quantization", 1)
        assert before < span.began < span.ended < time.time_ns()
        assert span.failed == (behavior != "succeeds")
        found[behavior] = span.attributes.get("error.type")
    assert found == endings
    assert len({span.span_id for span in collector.received}) == len(collector.received) == len(jobs)


def test_every_attempt_of_a_job_has_a_span(
    collector: Collector, queue: JobQueue, start: Callable[[], WorkerProcess], tmp_path: Path
) -> None:
    job = submitted(queue, "sleeps-once", tmp_path / "begun")
    first = start()
    eventually((tmp_path / "begun").exists)
    assert first.stop() == 0
    start()
    has(queue, job, JobStatus.SUCCEEDED)
    stopped, succeeded = attempts(collector, job, 2)
    assert (stopped.attributes["error.type"], succeeded.failed) == ("worker-stopped", False)
    assert (stopped.attributes["faceter.job.attempt"], succeeded.attributes["faceter.job.attempt"]) == (1, 2)
    assert stopped.parent_id == succeeded.parent_id == REQUEST.span_id
    assert stopped.span_id != succeeded.span_id


def test_a_canceled_job_has_a_span(
    collector: Collector, queue: JobQueue, start: Callable[[], WorkerProcess], tmp_path: Path
) -> None:
    start()
    job = submitted(queue, "begins-and-sleeps", tmp_path / "begun")
    eventually((tmp_path / "begun").exists)
    queue.cancel(job.id)
    (span,) = attempts(collector, job)
    assert span.attributes["error.type"] == "lease-lost"


def test_a_job_of_no_request_begins_a_trace(
    collector: Collector, queue: JobQueue, redis: Redis, start: Callable[[], WorkerProcess]
) -> None:
    job = queue.enqueue(job_spec("succeeds"))
    assert job_records.trace_of(job_records.fetch(redis, job.id)) is None
    start()
    (span,) = attempts(collector, job)
    assert (span.parent_id, span.failed) == ("", False)


def test_without_a_collector_jobs_succeed(
    monkeypatch: pytest.MonkeyPatch, queue: JobQueue, start: Callable[[], WorkerProcess]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    worker = start()
    jobs = [submitted(queue, "succeeds") for _ in range(2)]
    for job in jobs:
        assert has(queue, job, JobStatus.SUCCEEDED).attempts == 1
    eventually(lambda: "Failed to export spans" in worker.log_text())

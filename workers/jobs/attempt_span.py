"""The span of one attempt of a job: a part of the trace of the request that submitted the job."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from rq.job import Job as RQJob

from faceter.store.job_records import trace_of
from faceter.tracing.spans import Attributes, Span, SpanKind, Tracer


@contextmanager
def attempt_span(tracer: Tracer, job: RQJob) -> Iterator[Span]:
    """Yield the span of an attempt, which is in every log line of the block, also in a child forked there.

    Args:
        tracer: Begins the span.
        job: A claimed job. A job without a trace begins one.
    """
    span = tracer.begin(_name(job), trace_of(job), SpanKind.CONSUMER)
    ids = {"job_id": job.id, "trace_id": span.context.trace_id, "span_id": span.context.span_id}
    with structlog.contextvars.bound_contextvars(**ids):
        yield span


def end_attempt(span: Span, job: RQJob, error: str | None) -> None:
    """Export the span of an attempt; called by one process only, which may take seconds.

    Args:
        span: From `attempt_span`.
        job: The job.
        error: Kind of problem, or why the attempt was given up; None if the job succeeded.
    """
    attributes: Attributes = {
        "faceter.job.id": job.id,
        "faceter.job.kind": str(job.args[0]["kind"]),
        "faceter.job.attempt": int(job.meta.get("attempts", 1)),
    }
    span.end(_name(job), attributes=attributes, error=error)


def _name(job: RQJob) -> str:
    return f"{job.args[0]['kind']} job"

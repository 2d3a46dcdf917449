"""Reports of internal errors, for the operator."""

from __future__ import annotations

import platform
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from faceter.contracts.base import utc_now
from faceter.contracts.error_reports import ErrorReport, FailedNode
from faceter.contracts.jobs import JobKind
from faceter.graphs.node_failure import failure_of
from workers.host import compute_device, describe_device
from workers.jobs.provenance import versions

_MAX_MESSAGE = 500
_MAX_FRAMES = 60


def error_report(exception: BaseException, job_id: str, specification: dict[str, Any], step: str) -> ErrorReport:
    """Return the report of an exception that ended a job.

    Args:
        specification: Of the job, as JSON values.
        step: What the job was doing.
    """
    failure = failure_of(exception)
    frames = list(_frames(exception))
    return ErrorReport(
        job_id=job_id,
        kind=JobKind(specification["kind"]),
        created_at=utc_now(),
        step=step,
        error=f"{type(exception).__name__}: {_message(exception)}"[:_MAX_MESSAGE],
        node=None
        if failure is None
        else FailedNode(name=failure.name, operator=failure.operator, inputs=list(failure.inputs)),
        frames=frames[-_MAX_FRAMES:],
        request=specification,
        versions={**versions(), "python": platform.python_version()},
        device=describe_device(compute_device()),
    )


def _message(exception: BaseException) -> str:
    """Return the message in one line; a validation error's without the values."""
    if isinstance(exception, ValidationError):
        return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in exception.errors())
    return " ".join(str(exception).split())


def _frames(exception: BaseException) -> Iterator[str]:
    cause = exception.__cause__ or exception.__context__
    if cause is not None:
        yield from _frames(cause)
        yield f"{type(cause).__name__} led to {type(exception).__name__}"
    tb: TracebackType | None = exception.__traceback__
    for frame, line in traceback.walk_tb(tb):
        yield f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"

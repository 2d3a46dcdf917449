"""Errors of the client: one class for each way to handle them, each with the service's problem document."""

from typing import Any

from faceter.contracts.errors import FieldProblem, Problem, ProblemKind
from faceter.contracts.jobs import Job, JobStatus

_NAMED_IN_DETAIL = 3
"""The service names this many invalid fields in the detail of a problem."""


class FaceterApiError(Exception):
    """A call failed; the message tells what happened and how to mend it.

    Attributes:
        problem: The service's problem document. Without an answer of the service it is made by the client; its type is
            then `about:blank`, and its status 0 if there was no answer at all.
        request_id: The answer's `X-Request-ID`, which is in the logs of the service.
        retry_after: Seconds after which the service said to try again.
    """

    def __init__(self, problem: Problem, *, request_id: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(_message(problem, request_id))
        self.problem = problem
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def kind(self) -> ProblemKind | None:
        """Kind of the problem; None for one that this version of the client does not know."""
        return next((kind for kind in ProblemKind if kind.type == self.problem.type), None)

    @property
    def errors(self) -> list[FieldProblem]:
        """The invalid fields of the request, if any."""
        return self.problem.errors


class NotFound(FaceterApiError):
    """There is no such resource."""


class InvalidRequest(FaceterApiError):
    """The request, or a file in it, must be changed; the same request would fail again."""


class Conflict(FaceterApiError):
    """The resource is not in a state for this: in use, not ready, or already ended."""


class Overloaded(FaceterApiError):
    """The service is busy, or its store is away, also after the retries; the same request may succeed later."""


class DeadlineExceeded(FaceterApiError):
    """The service did not finish the request within its time limit."""


class ServiceFailed(FaceterApiError):
    """The service failed, which is no fault of the request: an internal error, or no storage space."""


class UnexpectedAnswer(FaceterApiError):
    """Something answered, but not as this service does: another server, a proxy, or a version too far away."""


class ConnectionFailed(FaceterApiError):
    """There was no answer, also after the retries."""


class JobFailed(FaceterApiError):
    """A job ended without a result.

    Attributes:
        job: The job; `links.error_report` leads to a report if the error is an internal one.
    """

    def __init__(self, problem: Problem, job: Job) -> None:
        super().__init__(problem)
        self.job = job


class JobCanceled(JobFailed):
    """A job was canceled."""


class JobNotEnded(FaceterApiError, TimeoutError):
    """A job did not end within the time given to wait; it goes on.

    Attributes:
        job: The job as last seen.
    """

    def __init__(self, job: Job, seconds: float) -> None:
        detail = (
            f"The job {job.id} is still {job.status} after {seconds:g} seconds. It goes on: wait again, "
            "or end it with finish() or cancel()."
        )
        super().__init__(made_up("The job has not ended", detail))
        self.job = job


_BY_STATUS: dict[int, type[FaceterApiError]] = {
    404: NotFound,
    409: Conflict,
    429: Overloaded,
    502: Overloaded,
    503: Overloaded,
    504: DeadlineExceeded,
}


def error_of(problem: Problem, *, request_id: str | None = None, retry_after: float | None = None) -> FaceterApiError:
    """Return the error for a problem document, of the class for its status."""
    if problem.status in _BY_STATUS:
        error = _BY_STATUS[problem.status]
    elif problem.status >= 500:
        error = ServiceFailed
    else:
        error = InvalidRequest
    return error(problem, request_id=request_id, retry_after=retry_after)


def job_error(job: Job) -> JobFailed:
    """Return the error for a job that ended without a result."""
    if job.status is JobStatus.CANCELED:
        detail = f"The job {job.id} was canceled, so it has no result. rerun() queues it again."
        return JobCanceled(made_up("The job was canceled", detail), job)
    problem = job.error or made_up("The job failed", f"The job {job.id} failed and left no error. See its logs.")
    return JobFailed(problem, job)


def made_up(title: str, detail: str, status: int = 0, **extra: Any) -> Problem:
    """Return a problem document for what the service did not say itself."""
    return Problem(type="about:blank", title=title, status=status, detail=detail, **extra)


def _message(problem: Problem, request_id: str | None) -> str:
    lines = [problem.detail]
    if len(problem.errors) > _NAMED_IN_DETAIL:
        lines += [f"- {error.field}: {error.message}" for error in problem.errors]
    if problem.status >= 500 and request_id is not None:
        lines.append(f"Request: {request_id}")
    return "\n".join(lines)

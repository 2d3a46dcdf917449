# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""Jobs: wait for them, read their results, end them."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast

import httpx

from faceter.client.calls import ApiCall, Id, id_of, pause_before_retry
from faceter.client.errors import FaceterApiError, JobNotEnded, job_error
from faceter.client.events import EventParser, FollowedEvent
from faceter.client.fields import JobFilters
from faceter.client.html import job_html
from faceter.client.progress import display, duration
from faceter.client.synchronous.runtime import sleep
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import Problem
from faceter.contracts.job_logs import JobLog, JobLogLine
from faceter.contracts.job_progress import Progress
from faceter.contracts.jobs import Job, JobKind, JobStatus, JobSummary

if TYPE_CHECKING:
    from faceter.client.synchronous.client import Client

R = TypeVar("R")

_SILENCE_SECONDS = 60.0
"""The service sends a heartbeat more often than this."""


class RemoteJob(Generic[R]):
    """A job of the service. `R` is what it makes.

    Attributes:
        record: The job as last seen.
    """

    def __init__(self, client: "Client", record: Job) -> None:
        self._client = client
        self.record = record

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r}, {self.kind.value}, {self.status.value})"

    def _repr_html_(self) -> str:
        return job_html(self.record)

    @property
    def id(self) -> str:
        """Opaque id."""
        return self.record.id

    @property
    def kind(self) -> JobKind:
        """Kind of job."""
        return self.record.kind

    @property
    def status(self) -> JobStatus:
        """Status as last seen."""
        return self.record.status

    @property
    def progress(self) -> Progress | None:
        """Progress as last seen."""
        return self.record.progress

    @property
    def error(self) -> Problem | None:
        """Error, if it failed."""
        return self.record.error

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def refresh(self) -> Self:
        """Read the job, and return it."""
        self.record = self._client.transport.fetch(Job, ApiCall("GET", self._path))
        return self

    def events(self) -> Iterator[FollowedEvent]:
        """Yield the events of the job from its beginning to its end, as they happen."""
        with closing(self._followed(None)) as events:
            yield from events

    def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> Self:
        """Wait until the job has ended, and return it; also if it failed.

        Args:
            timeout: Seconds to wait at most.
            progress: Whether to show progress; by default in terminals and notebooks.

        Raises:
            JobNotEnded: If it has not ended in time. The job goes on.
        """
        if self.status.ended:
            return self
        began = time.monotonic()
        shown = display(f"{self.kind.value.capitalize()} {self.id}", progress)
        try:
            with closing(self._followed(timeout)) as events:
                for event in events:
                    if event.progress is not None:
                        shown.show(event.progress)
        finally:
            shown.close(f"{self.status.value}, {duration(time.monotonic() - began)}")
        return self

    def result(self, timeout: float | None = None, *, progress: bool | None = None) -> R:
        """Wait until the job has ended, and return what it made.

        Args:
            timeout: Seconds to wait at most.
            progress: Whether to show progress; by default in terminals and notebooks.

        Raises:
            JobFailed: If it failed, with its problem; `JobCanceled` if it was canceled.
            JobNotEnded: If it has not ended in time. The job goes on.
        """
        self.wait(timeout, progress=progress)
        if self.record.result is None:
            raise job_error(self.record)
        return cast(R, self._client.open(self.record.result))

    def by_products(self) -> list[Any]:
        """Return what an ended job made besides its result, such as a dataset of synthetic inputs."""
        made = [] if self.record.result is None else self.record.result.by_products
        return [self._client.open(reference) for reference in made]

    def cancel(self) -> Self:
        """Cancel the job; it then has no result.

        Raises:
            Conflict: If it has ended.
        """
        return self._asked("cancel")

    def finish(self) -> Self:
        """Ask a job that tunes or trains to end early with its best result so far; wait for it then.

        Raises:
            Conflict: If it has ended.
        """
        return self._asked("finish")

    def rerun(self) -> "RemoteJob[R]":
        """Queue a new job with the settings and the seed of this one, which must have ended.

        Raises:
            Conflict: If it has not ended.
        """
        call = ApiCall("POST", f"{self._path}/rerun", creates=True)
        return type(self)(self._client, self._client.transport.fetch(Job, call))

    def log(self, last: int = 100) -> list[JobLogLine]:
        """Return the last lines that the worker logged about the job, oldest first."""
        log = self._client.transport.fetch(JobLog, ApiCall("GET", f"{self._path}/log", query={"last": last}))
        return log.items

    def error_report(self) -> ErrorReport:
        """Return the report of the internal error that ended the job, for an issue.

        Raises:
            NotFound: If it did not end by an internal error.
        """
        return self._client.transport.fetch(ErrorReport, ApiCall("GET", f"{self._path}/error-report.json"))

    def _asked(self, action: str) -> Self:
        call = ApiCall("POST", f"{self._path}/{action}", repeatable=False)
        self.record = self._client.transport.fetch(Job, call)
        return self

    def _followed(self, timeout: float | None) -> Generator[FollowedEvent, None, None]:
        """Yield the events of the job; a connection that breaks is made anew, after the last event.

        Raises:
            JobNotEnded: If the job has not ended after `timeout` seconds.
        """
        transport = self._client.transport
        end = None if timeout is None else time.monotonic() + timeout
        last, failures = "", 0
        while True:
            failures += 1
            reason: httpx.RequestError | FaceterApiError = httpx.RemoteProtocolError("the events ended before the job")
            call = ApiCall("GET", f"{self._path}/events", headers={"Last-Event-ID": last} if last else {})
            try:
                with transport.stream(call, self._patience(end, timeout)) as response:
                    parser = EventParser()
                    for line in response.iter_lines():
                        event = parser.feed(line)
                        if event is not None:
                            failures, last = 0, event.id or last
                            self._saw(event)
                            yield event
                            if event.name == "end":
                                return
                        self._patience(end, timeout)
            except httpx.ReadTimeout:
                reason = httpx.RemoteProtocolError("nothing came, not even a heartbeat")
            except (httpx.RequestError, FaceterApiError) as error:
                reason = error
            self._patience(end, timeout)
            sleep(pause_before_retry(transport.configuration, call, max(failures, 1), reason))

    def _saw(self, event: FollowedEvent) -> None:
        if event.job is not None:
            self.record = event.job
        elif event.progress is not None:
            self.record = self.record.model_copy(update={"progress": event.progress})

    def _patience(self, end: float | None, timeout: float | None) -> httpx.Timeout:
        """Return how long to wait for the next line.

        Raises:
            JobNotEnded: If the time is over.
        """
        left = _SILENCE_SECONDS if end is None else end - time.monotonic()
        if left <= 0:
            raise JobNotEnded(self.record, timeout or 0.0)
        usual = self._client.transport.configuration.timeout
        read = min(left, _SILENCE_SECONDS)
        return httpx.Timeout(connect=usual.connect, read=read, write=usual.write, pool=usual.pool)


class Jobs:
    """The jobs of the service."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def get(self, id: Id) -> RemoteJob[Any]:
        """Return a job.

        Raises:
            NotFound: If there is none.
        """
        job = self._client.transport.fetch(Job, ApiCall("GET", f"/v1/jobs/{id_of(id)}"))
        return RemoteJob(self._client, job)

    def cancel(self, id: Id) -> RemoteJob[Any]:
        """Cancel a job; see `RemoteJob.cancel`."""
        return (self.get(id)).cancel()

    def finish(self, id: Id) -> RemoteJob[Any]:
        """Ask a job to end early; see `RemoteJob.finish`."""
        return (self.get(id)).finish()

    def list(self, *, page_size: int = 100, **filters: Unpack[JobFilters]) -> Iterator[JobSummary]:
        """Iterate over the jobs, newest first; pages are read as they are needed."""
        return self._client.pages.items(JobSummary, "/v1/jobs", filters, page_size)

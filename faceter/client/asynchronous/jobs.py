"""Jobs: wait for them, read their results, end them."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, Unpack, cast

import httpx

from faceter.client.asynchronous.runtime import sleep
from faceter.client.calls import ApiCall, Id, id_of, pause_before_retry
from faceter.client.errors import FaceterApiError, JobNotEnded, job_error
from faceter.client.events import EventParser, FollowedEvent
from faceter.client.fields import JobFilters
from faceter.client.html import job_html
from faceter.client.progress import display, duration
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import Problem
from faceter.contracts.job_logs import JobLog, JobLogLine
from faceter.contracts.job_progress import Progress
from faceter.contracts.jobs import Job, JobKind, JobStatus, JobSummary

if TYPE_CHECKING:
    from faceter.client.asynchronous.client import AsyncClient

R = TypeVar("R")

_SILENCE_SECONDS = 60.0
"""The service sends a heartbeat more often than this."""


class AsyncRemoteJob(Generic[R]):
    """A job of the service. `R` is what it makes.

    Attributes:
        record: The job as last seen.
    """

    def __init__(self, client: "AsyncClient", record: Job) -> None:
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

    async def refresh(self) -> Self:
        """Read the job, and return it."""
        self.record = await self._client.transport.fetch(Job, ApiCall("GET", self._path))
        return self

    async def events(self) -> AsyncIterator[FollowedEvent]:
        """Yield the events of the job from its beginning to its end, as they happen."""
        async with aclosing(self._followed(None)) as events:
            async for event in events:
                yield event

    async def wait(self, timeout: float | None = None, *, progress: bool | None = None) -> Self:
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
            async with aclosing(self._followed(timeout)) as events:
                async for event in events:
                    if event.progress is not None:
                        shown.show(event.progress)
        finally:
            shown.close(f"{self.status.value}, {duration(time.monotonic() - began)}")
        return self

    async def result(self, timeout: float | None = None, *, progress: bool | None = None) -> R:
        """Wait until the job has ended, and return what it made.

        Args:
            timeout: Seconds to wait at most.
            progress: Whether to show progress; by default in terminals and notebooks.

        Raises:
            JobFailed: If it failed, with its problem; `JobCanceled` if it was canceled.
            JobNotEnded: If it has not ended in time. The job goes on.
        """
        await self.wait(timeout, progress=progress)
        if self.record.result is None:
            raise job_error(self.record)
        return cast(R, await self._client.open(self.record.result))

    async def by_products(self) -> list[Any]:
        """Return what an ended job made besides its result, such as a dataset of synthetic inputs."""
        made = [] if self.record.result is None else self.record.result.by_products
        return [await self._client.open(reference) for reference in made]

    async def cancel(self) -> Self:
        """Cancel the job; it then has no result.

        Raises:
            Conflict: If it has ended.
        """
        return await self._asked("cancel")

    async def finish(self) -> Self:
        """Ask a job that tunes or trains to end early with its best result so far; wait for it then.

        Raises:
            Conflict: If it has ended.
        """
        return await self._asked("finish")

    async def rerun(self) -> "AsyncRemoteJob[R]":
        """Queue a new job with the settings and the seed of this one, which must have ended.

        Raises:
            Conflict: If it has not ended.
        """
        call = ApiCall("POST", f"{self._path}/rerun", creates=True)
        return type(self)(self._client, await self._client.transport.fetch(Job, call))

    async def log(self, last: int = 100) -> list[JobLogLine]:
        """Return the last lines that the worker logged about the job, oldest first."""
        log = await self._client.transport.fetch(JobLog, ApiCall("GET", f"{self._path}/log", query={"last": last}))
        return log.items

    async def error_report(self) -> ErrorReport:
        """Return the report of the internal error that ended the job, for an issue.

        Raises:
            NotFound: If it did not end by an internal error.
        """
        return await self._client.transport.fetch(ErrorReport, ApiCall("GET", f"{self._path}/error-report.json"))

    async def _asked(self, action: str) -> Self:
        call = ApiCall("POST", f"{self._path}/{action}", repeatable=False)
        self.record = await self._client.transport.fetch(Job, call)
        return self

    async def _followed(self, timeout: float | None) -> AsyncGenerator[FollowedEvent, None]:
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
                async with transport.stream(call, self._patience(end, timeout)) as response:
                    parser = EventParser()
                    async for line in response.aiter_lines():
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
            await sleep(pause_before_retry(transport.configuration, call, max(failures, 1), reason))

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


class AsyncJobs:
    """The jobs of the service."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def get(self, id: Id) -> AsyncRemoteJob[Any]:
        """Return a job.

        Raises:
            NotFound: If there is none.
        """
        job = await self._client.transport.fetch(Job, ApiCall("GET", f"/v1/jobs/{id_of(id)}"))
        return AsyncRemoteJob(self._client, job)

    async def cancel(self, id: Id) -> AsyncRemoteJob[Any]:
        """Cancel a job; see `AsyncRemoteJob.cancel`."""
        return await (await self.get(id)).cancel()

    async def finish(self, id: Id) -> AsyncRemoteJob[Any]:
        """Ask a job to end early; see `AsyncRemoteJob.finish`."""
        return await (await self.get(id)).finish()

    def list(self, *, page_size: int = 100, **filters: Unpack[JobFilters]) -> AsyncIterator[JobSummary]:
        """Iterate over the jobs, newest first; pages are read as they are needed."""
        return self._client.pages.items(JobSummary, "/v1/jobs", filters, page_size)

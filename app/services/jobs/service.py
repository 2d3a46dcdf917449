"""Jobs: get, list, cancel, finish early, rerun."""

from app.services.core import Service
from app.services.jobs.submission import resubmit
from faceter.contracts.base import Page
from faceter.contracts.error_reports import ErrorReport
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.job_logs import JobLog
from faceter.contracts.jobs import Job, JobFilter, JobSummary


class JobService(Service):
    """Manages queued, running and ended jobs."""

    def get(self, id: str) -> Job:
        """Return a job.

        Raises:
            FaceterError: `NOT_FOUND` if it does not exist, or ended longer ago than the retention of jobs.
        """
        return self.queue.get(id)

    def error_report(self, id: str) -> ErrorReport:
        """Return the report of the internal error that ended a job.

        Raises:
            FaceterError: `NOT_FOUND` if there is no such job, or it has no report.
        """
        return self.queue.error_report(id)

    def log(self, id: str, last: int) -> JobLog:
        """Return the last log lines of a job.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        return self.queue.log(id, last)

    def page(self, limit: int, cursor: str | None, filter: JobFilter) -> Page[JobSummary]:
        """Return one page of the jobs that a filter matches, newest first.

        Raises:
            FaceterError: `INVALID_REQUEST` for a bad cursor.
        """
        page = self.queue.page(limit, cursor, filter.matches)
        return Page[JobSummary](items=[JobSummary.of(job) for job in page.items], next_cursor=page.next_cursor)

    def cancel(self, id: str) -> Job:
        """Cancel a queued or running job; no results are published.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_ENDED` if it has ended.
        """
        return self.queue.cancel(id)

    def finish(self, id: str) -> Job:
        """Ask a running job to finish early with its best result so far.

        A queued job has no result and is canceled, unless it has a checkpoint of an earlier attempt.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_ENDED` if it has ended.
        """
        return self.queue.request_end(id)

    def rerun(self, id: str) -> Job:
        """Queue a new job with the specification of an ended one.

        Raises:
            FaceterError: `NOT_FOUND`; `JOB_NOT_ENDED` while it is queued or running; the errors of submitting its
                request again.
        """
        job = self.get(id)
        if not job.status.ended:
            raise FaceterError(
                ProblemKind.JOB_NOT_ENDED, f"{id} is still {job.status}. Wait for it to end, or cancel it."
            )
        return resubmit(self.core, job)

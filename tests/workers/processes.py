"""Worker processes, and helpers for tests of jobs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus
from faceter.contracts.settings import Settings

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]

_CODE = """
import logging, sys
from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from workers.main import JobWorker, run_worker
logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(message)s")
settings = Settings.model_validate_json(sys.argv[1])
exec(sys.argv[3])
run_worker(settings) if sys.argv[2] == "whole" else JobWorker(settings).run()
"""


class WorkerProcess:
    """A worker process; `stop` or the end of the ``with`` block ends it.

    Args:
        log: File for its output.
        whole: Whether to start it as `faceter worker` does, with torch, which takes seconds.
        before: Python code that it runs first.
    """

    def __init__(self, settings: Settings, log: Path, *, whole: bool = False, before: str = "") -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE, settings.model_dump_json(), "whole" if whole else "bare", before],
                cwd=ROOT,
                stdout=file,
                stderr=file,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def log_text(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace")


def eventually(look: Callable[[], T], seconds: float = 20, every: float = 0.05) -> T:
    """Call ``look`` until its result is true, and return that; AssertionError after ``seconds``."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"not true within {seconds} seconds; last result: {seen!r}")
        time.sleep(every)


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def try_cancel(queue: JobQueue, job_id: str) -> bool:
    """Cancel the job; return False if it has ended."""
    try:
        queue.cancel(job_id)
    except FaceterError as error:
        if error.kind is not ProblemKind.JOB_ENDED:
            raise
        return False
    return True


def has(queue: JobQueue, job: Job, status: JobStatus, seconds: float = 20) -> Job:
    """Wait until the job has that status; return it."""

    def look() -> Job | None:
        found = queue.get(job.id)
        assert found.status is status or not found.status.ended, found
        return found if found.status is status else None

    found = eventually(look, seconds)
    assert found is not None
    return found

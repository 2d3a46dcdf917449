"""Real workers in real processes, and what tests of jobs share."""

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
run_worker(settings) if sys.argv[2] == "whole" else JobWorker(settings).run()
"""


class WorkerProcess:
    """One worker; end it with `stop` or by leaving the ``with`` block.

    Args:
        settings: Its settings.
        log: File that gets what it says.
        whole: Whether it is started as the `faceter worker` command does, torch and all, which takes seconds.
    """

    def __init__(self, settings: Settings, log: Path, *, whole: bool = False) -> None:
        self.log = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE, settings.model_dump_json(), "whole" if whole else "bare"],
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
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=15)

    def said(self) -> str:
        """Return its log."""
        return self.log.read_text(errors="replace")


def eventually(look: Callable[[], T], seconds: float = 20, every: float = 0.05) -> T:
    """Return what ``look`` returns as soon as that is true; fail if it does not become so."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"did not come about within {seconds} seconds; last seen: {seen!r}")
        time.sleep(every)


def alive(pid: int) -> bool:
    """Return whether a process is there and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def cancels(queue: JobQueue, job_id: str) -> bool:
    """Cancel the job; return whether it had not ended yet."""
    try:
        queue.cancel(job_id)
    except FaceterError as error:
        if error.kind is not ProblemKind.JOB_ENDED:
            raise
        return False
    return True

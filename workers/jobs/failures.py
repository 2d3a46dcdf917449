"""The problem that the owner of a failed job sees."""

import os
import signal
from pathlib import Path
from typing import Final

from rq.timeouts import JobTimeoutException

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings

_CGROUP_EVENTS: Final = Path("/sys/fs/cgroup/memory.events")
_VMSTAT: Final = Path("/proc/vmstat")
_OUT_OF_MEMORY: Final = ("OutOfMemoryError", "can't allocate memory", "not enough memory", "std::bad_alloc")


def error_of(exception: BaseException, settings: Settings) -> FaceterError:
    """Return the error of a job that ended with an exception.

    A FaceterError is passed on; lack of memory and timeouts have kinds of their own. Of any other exception the owner
    sees the class name only; the log has the rest.
    """
    if isinstance(exception, FaceterError):
        return exception
    if isinstance(exception, JobTimeoutException):
        return timed_out(settings)
    name = type(exception).__name__
    if isinstance(exception, MemoryError) or any(mark in f"{name}: {exception}" for mark in _OUT_OF_MEMORY):
        return FaceterError(
            ProblemKind.OUT_OF_MEMORY,
            "There was not enough memory for this job. Use a smaller model or dataset, or a worker with more memory.",
        )
    return FaceterError(
        ProblemKind.INTERNAL_ERROR,
        f"The job failed because of an error in the server ({name}). The worker's log has the details, under its id.",
    )


def timed_out(settings: Settings) -> FaceterError:
    """Return the error of a job that took too long."""
    return FaceterError(
        ProblemKind.JOB_TIMEOUT,
        f"The job took longer than the {settings.job_timeout_seconds} seconds this server allows.",
    )


def error_of_death(status: int, killed_for_memory: bool) -> FaceterError:
    """Return the error of a job whose process died.

    Args:
        status: As `os.wait` returned it.
        killed_for_memory: Whether the kernel killed a process for lack of memory meanwhile.
    """
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == signal.SIGKILL and killed_for_memory:
            return FaceterError(
                ProblemKind.OUT_OF_MEMORY,
                "The system ended this job because memory ran out. Use a smaller model or dataset, "
                "or a worker with more memory.",
            )
        how = f"was ended by {signal.Signals(number).name}"
    else:
        how = f"ended with exit code {os.WEXITSTATUS(status)}"
    return FaceterError(ProblemKind.WORKER_LOST, f"The process doing this job {how}. See the worker's log.")


def memory_kills() -> int:
    """Return how many processes the kernel killed for lack of memory, in the container or on the host; 0 if unknown."""
    for source in (_CGROUP_EVENTS, _VMSTAT):
        try:
            lines = source.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0

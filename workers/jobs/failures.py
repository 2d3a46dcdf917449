"""The problem that the owner of a failed job sees."""

import os
import signal
from pathlib import Path
from typing import Final

from rq.timeouts import JobTimeoutException

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobKind
from faceter.contracts.settings import Settings
from faceter.graphs.node_failure import failure_of

_CGROUP_EVENTS: Final = Path("/sys/fs/cgroup/memory.events")
_VMSTAT: Final = Path("/proc/vmstat")
_OUT_OF_MEMORY: Final = ("OutOfMemoryError", "can't allocate memory", "not enough memory", "std::bad_alloc")


_STILL_WORKS: Final = {
    JobKind.QUANTIZATION: "The model can still be used with predict and explained, and another method, such as rq or "
    "auto, may quantize it.",
    JobKind.EXPLANATION: "The model can still be used with predict and quantized, and another layer may be explained.",
    JobKind.EVALUATION: "Features of another tensor may be compared, or features that you compute and upload yourself.",
    JobKind.ANALYSIS: "The explanation is not affected, and its other analyses can be requested.",
    JobKind.TRANSLATION: "The dataset is not affected; another method, image size or precision may train.",
}
"""What the owner of a failed job can do meanwhile."""


def error_of(exception: BaseException, settings: Settings, kind: JobKind | None = None) -> FaceterError:
    """Return the error of a job that ended with an exception.

    A FaceterError is passed on; lack of memory and timeouts have kinds of their own. Of any other exception the owner
    sees the class name, the node at which it happened, and what still works; the error report and the log have the
    rest.

    Args:
        kind: Kind of the job, if known.
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
    failure = failure_of(exception)
    where = f" at the node {failure.name!r} ({failure.operator})" if failure is not None else ""
    return FaceterError(
        ProblemKind.INTERNAL_ERROR,
        f"The job failed because of an error in the server ({name}{where}). The job's error report has the details; "
        "please pass it on to the operator of this server, who can attach it to an issue."
        + (f" {_STILL_WORKS[kind]}" if kind is not None else ""),
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

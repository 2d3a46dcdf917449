"""Checks uploaded models, each in a process of its own that the kernel keeps within limits of memory and time.

A file of a kilobyte may hold a graph whose values double at each node, or constants that take hours to fold. Whatever
it does, it does to its process. What comes back is JSON.
"""

import contextlib
import json
import multiprocessing
import os
import resource
import signal
import traceback
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any, Final

from app.services.models.checking import ModelUpload, described
from faceter.contracts.errors import FaceterError, FieldProblem, ProblemKind
from faceter.contracts.models import ModelDescription
from faceter.contracts.settings import Settings
from faceter.processes.confinement import confine
from faceter.processes.parent_death import die_with_parent

_MOST_ANSWERED: Final = 256 * 2**20
_OOM_SCORE: Final = "800"
_OUT_OF_MEMORY: Final = 3
"""Exit status of the process."""
_MIB: Final = 2**20

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])


def warm_up() -> None:
    """Start the process that the others are forked from, which loads this module once; returns at once."""
    forkserver.ensure_running()


@dataclass(frozen=True)
class CheckLimits:
    """Limits of the process of one check."""

    bytes: int
    """Memory."""
    seconds: float
    """Time from its start to its end."""
    cpu_seconds: int | None = None
    """Time of computing, of all its threads together."""
    niceness: int = 0
    """How much it stands back for other processes."""


class CheckEndedError(Exception):
    """The process reached a limit, or crashed.

    Args:
        error: What to tell the user if no other check is tried.
    """

    def __init__(self, error: FaceterError) -> None:
        super().__init__(error.detail)
        self.error = error


def checked(upload: ModelUpload, settings: Settings, limits: CheckLimits) -> ModelDescription:
    """Return what is understood of an upload; see `described`.

    Args:
        upload: The upload.
        settings: Limits of `described`.
        limits: Limits of the process.

    Raises:
        FaceterError: As `described`.
        CheckEndedError: If a limit is reached or the process crashes.
    """
    ours, theirs = _processes.Pipe()
    arguments = (theirs, upload.name, upload.metadata, settings, limits)
    process = _processes.Process(target=_work, args=arguments, daemon=True)
    process.start()
    theirs.close()
    try:
        answer = _answer(ours, upload, limits.seconds)
    except (EOFError, OSError) as error:
        process.join()
        raise CheckEndedError(_ended(process.exitcode or 0, limits)) from error
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()
    if answer is None:
        raise CheckEndedError(_too_long(limits))
    if "description" in answer:
        return ModelDescription.model_validate(answer["description"])
    raise _error_of(answer)


def _answer(connection: Connection, upload: ModelUpload, seconds: float) -> dict[str, Any] | None:
    """Send the files, and return what the process answers; None if it does not in time."""
    connection.send_bytes(upload.content)
    connection.send(upload.tokenizer)
    if not connection.poll(seconds):
        return None
    answer: dict[str, Any] = json.loads(connection.recv_bytes(_MOST_ANSWERED))
    return answer


def _too_long(limits: CheckLimits) -> FaceterError:
    return FaceterError(
        ProblemKind.MODEL_NOT_RUNNABLE,
        f"Checking the model took longer than {limits.seconds:g} s, the limit of this server "
        "(`FACETER_CHECK_SECONDS`). Fold its constants before the upload, or export it at smaller fixed sizes.",
        field="file",
    )


def _ended(code: int, limits: CheckLimits) -> FaceterError:
    """Return the error for a process that has ended without an answer."""
    limit = f"{limits.bytes // _MIB:,} MiB, the limit of this server (`FACETER_CHECK_BYTES`)"
    if code == -signal.SIGXCPU:
        return _too_long(limits)
    if code == _OUT_OF_MEMORY:
        detail = f"The check of the model needs more memory than {limit}. Export it at smaller sizes."
    else:
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        detail = (
            f"The check of the model ended with {name}: the model crashes ONNX Runtime, or needs more memory than "
            f"{limit}. Export it at smaller sizes, or for another opset."
        )
    return FaceterError(ProblemKind.MODEL_NOT_RUNNABLE, detail, field="file")


def _error_of(answer: dict[str, Any]) -> Exception:
    if "internal" in answer:
        return RuntimeError(answer["internal"])
    return FaceterError(
        ProblemKind[answer["kind"]],
        answer["detail"],
        errors=[FieldProblem.model_validate(item) for item in answer["errors"]],
        retry_after=answer["retry_after"],
        **answer["extra"],
    )


def _work(connection: Connection, name: str, metadata: Any, settings: Settings, limits: CheckLimits) -> None:
    """Check one upload, in the process."""
    die_with_parent(signal.SIGKILL)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limits.bytes, limits.bytes))
        if limits.cpu_seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE)
    os.nice(limits.niceness)
    confine()
    answer: dict[str, Any]
    try:
        upload = ModelUpload(connection.recv_bytes(), name, metadata, connection.recv())
        answer = {"description": described(upload, settings).model_dump(mode="json")}
    except FaceterError as error:
        errors = [item.model_dump(mode="json") for item in error.errors]
        answer = {"kind": error.kind.name, "detail": error.detail, "errors": errors}
        answer |= {"retry_after": error.retry_after, "extra": error.extra}
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    except Exception:
        answer = {"internal": traceback.format_exc()}
    with contextlib.suppress(BrokenPipeError):  # the API has been killed meanwhile
        connection.send_bytes(json.dumps(answer).encode())

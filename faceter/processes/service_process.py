"""A child process of the supervisor: the API or a worker."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from faceter.processes import parent_death
from faceter.processes.readiness import READY_VARIABLE

_SHORTEST_DELAY_SECONDS = 0.1
_FIRST_DELAY_SECONDS = 0.25
_LONGEST_DELAY_SECONDS = 4.0


def restart_delay(failures: int) -> float:
    """Return the seconds before the next start, after this many starts in a row that never became ready."""
    if not failures:
        return _SHORTEST_DELAY_SECONDS
    return min(_FIRST_DELAY_SECONDS * 2.0 ** (failures - 1), _LONGEST_DELAY_SECONDS)


@dataclass
class ServiceProcess:
    """A process that is restarted when it ends.

    One that was ready, as it reports by `announce_ready`, is restarted at once; the delay grows, to a few seconds, only
    while it ends before that.

    Attributes:
        failures: Starts in a row that ended before the process was ready.
    """

    name: str
    arguments: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    restart_at: float = 0.0
    _readiness: int | None = None

    def start(self) -> None:
        """Start the process, in a session of its own."""
        self._readiness, ready = os.pipe()
        os.set_blocking(self._readiness, False)
        try:
            self.process = subprocess.Popen(
                parent_death.wrapped_command(self.arguments, signal.SIGKILL),
                env={**self.environment, READY_VARIABLE: str(ready)},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(ready,),
            )
        finally:
            os.close(ready)

    def poll(self) -> int | None:
        """Return the exit status if the process has exited, else None."""
        return None if self.process is None else self.process.poll()

    def schedule_restart(self) -> float:
        """Forget the process that exited, and return the delay in seconds before the next start."""
        assert self.process is not None
        kill_session(self.process.pid)
        self.process = None
        self.failures = 0 if self._was_ready() else self.failures + 1
        delay = restart_delay(self.failures)
        self.restart_at = time.monotonic() + delay
        return delay

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process if it is running."""
        if self.running:
            assert self.process is not None
            self.process.send_signal(number)

    @property
    def running(self) -> bool:
        """Whether the process was started and has not exited."""
        return self.process is not None and self.process.poll() is None

    def _was_ready(self) -> bool:
        """Return whether the process that ended had reported that it is ready."""
        readiness, self._readiness = self._readiness, None
        if readiness is None:
            return False
        try:
            return os.read(readiness, 1) == b"1"
        except BlockingIOError:
            return False  # a child that it left behind keeps the pipe open
        finally:
            os.close(readiness)


def kill_session(leader: int) -> None:
    """Kill the remaining processes of the session that ``leader`` started, such as a worker's child."""
    for member in _session_members(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def exit_reason(status: int) -> str:
    """Return a description of an exit status; negative ones are signals."""
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def _session_members(leader: int) -> list[int]:
    members = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, PermissionError):
            if os.getsid(int(entry.name)) == leader:
                members.append(int(entry.name))
    return members

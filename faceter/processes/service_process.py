"""A child process of the supervisor: the API or a worker."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from faceter.processes import parent_death

_MAX_DELAY_SECONDS = 30.0
_STABLE_SECONDS = 60.0


@dataclass
class ServiceProcess:
    """A process that is restarted when it exits, with exponential backoff if it exits early."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0

    def start(self) -> None:
        """Start the process, in a session of its own."""
        self.process = subprocess.Popen(
            parent_death.wrapped_command(self.arguments, signal.SIGKILL),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.started_at = time.monotonic()

    def poll(self) -> int | None:
        """Return the exit status if the process has exited, else None."""
        return None if self.process is None else self.process.poll()

    def schedule_restart(self) -> float:
        """Forget the process that exited, and return the delay in seconds before the next start."""
        assert self.process is not None
        kill_session(self.process.pid)
        self.process = None
        self.failures = 1 if time.monotonic() - self.started_at > _STABLE_SECONDS else self.failures + 1
        delay = min(0.5 * 2.0 ** (self.failures - 1), _MAX_DELAY_SECONDS)
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

"""The service under attack, and its processes."""

import re
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx

from tests.end_to_end.up_process import Up

ATTEMPTS: Final = 25
"""Attempts of a job: enough that none fails for the kills."""

LOST_SECONDS: Final = 5

_ENVIRONMENT: Final = {
    "FACETER_JOB_ATTEMPTS": str(ATTEMPTS),
    "FACETER_WORKER_LOST_SECONDS": str(LOST_SECONDS),
    "FACETER_CHECKPOINT_SECONDS": "1",
    "FACETER_MEASURE_SERVING": "false",
    "OMP_NUM_THREADS": "1",
}


class Target(StrEnum):
    """A kind of process."""

    API = "API"
    WORKER = "worker"
    JOB = "job process"
    STORE = "Valkey"


class AttackedService:
    """A `faceter up` with two workers.

    Args:
        data_dir: Its data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.up = Up(data_dir, ["--port", "0", "--workers", "2"], **_ENVIRONMENT)
        self.up.hears("Ready after")
        self.url = self.up.url

    def processes(self) -> dict[Target, list[int]]:
        """Return the ids of the processes that run."""
        parents = _parents()
        found: dict[Target, list[int]] = {target: [] for target in Target}
        for pid, parent in parents.items():
            if parent == self.up.process.pid and (target := _target(pid)) is not None:
                found[target].append(pid)
        found[Target.JOB] = [pid for pid, parent in parents.items() if parent in found[Target.WORKER]]
        return found

    def has_started(self, target: Target, pid: int) -> bool:
        """Return whether a process has begun to work, by what it logged."""
        match target:
            case Target.API:
                return f"Started server process [{pid}]" in self.up.output
            case Target.WORKER:
                return re.search(rf"-{pid}-\w+ takes jobs", self.up.output) is not None
            case _:
                return True

    def is_ready(self) -> bool:
        """Return whether the API, the store and a worker are there."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def wait_until_ready(self, seconds: float) -> bool:
        """Wait until the service is ready; return whether it became so."""
        end = time.monotonic() + seconds
        while not self.is_ready():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True


def _parents() -> dict[int, int]:
    """Return the parent of each process that is not a zombie."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            parents[int(entry.name)] = int(parent)
    return parents


def _target(pid: int) -> Target | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    if any(b"valkey-server" in word for word in words):
        return Target.STORE
    return {b"api": Target.API, b"worker": Target.WORKER}.get(words[-1])

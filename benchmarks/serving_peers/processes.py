"""Trees of processes: CPU time and memory from /proc, and their end."""

import os
import signal
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

_TICK: Final = 1 / os.sysconf("SC_CLK_TCK")
_MEMORY_SECONDS: Final = 1.0
_END_SECONDS: Final = 15
_SETTLE_SECONDS, _SETTLE_STEP, _IDLE_SHARE = 60, 0.25, 0.15


def tree(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    children = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Return the CPU time that processes have used."""
    return sum(sum(map(int, fields[11:13])) * _TICK for pid in pids if (fields := _stat(pid)))


def memory_mib(pids: list[int]) -> float:
    """Return the memory of processes; pages that they share count once."""
    kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (OSError, ProcessLookupError):
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def busy_seconds() -> float:
    """Return the CPU time that all programs of the host have used."""
    user, nice, system, _, _, irq, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + soft) * _TICK


class ProcessUse:
    """Measures what a tree of processes uses during a block.

    Args:
        root: The first process.
    """

    cpu: float
    """CPU seconds."""
    peak_mib: float
    """Peak memory, sampled each second and at the end."""
    others: float
    """Cores that programs used which are neither of this tree nor of this process and its children."""

    def __init__(self, root: int) -> None:
        self._pids = tree(root)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "ProcessUse":
        self.peak_mib, self.cpu = memory_mib(self._pids), -cpu_seconds(self._pids)
        self._began, self._own, self._busy = time.perf_counter(), sum(os.times()[:4]), busy_seconds()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu += cpu_seconds(self._pids)
        busy = busy_seconds() - self._busy - self.cpu - (sum(os.times()[:4]) - self._own)
        self.others = max(0.0, busy / (time.perf_counter() - self._began))
        self._ended.set()
        self._thread.join()
        self.peak_mib = max(self.peak_mib, memory_mib(self._pids))

    def _watch(self) -> None:
        while not self._ended.wait(_MEMORY_SECONDS):
            self.peak_mib = max(self.peak_mib, memory_mib(self._pids))


def settle(root: int) -> None:
    """Wait until a tree of processes is idle: requests whose client has left may still be worked on."""
    pids, deadline = tree(root), time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        used, began = cpu_seconds(pids), time.monotonic()
        time.sleep(_SETTLE_STEP)
        if cpu_seconds(pids) - used < _IDLE_SHARE * (time.monotonic() - began):
            return


def end(process: "subprocess.Popen[Any]") -> None:
    """End a process and all that descend from it."""
    pids = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _stat(pid: int) -> list[str]:
    """Return the fields of a process after its name, the state first; none if it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ProcessLookupError):
        return []

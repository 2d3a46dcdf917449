"""A real ``faceter up``, its output and its processes."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_PATIENCE = 60.0


def clean_environment() -> dict[str, str]:
    """Return the environment without settings of Faceter."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FACETER_")}


class Up:
    """A running ``faceter up`` and its output."""

    def __init__(self, data_dir: Path, arguments: Sequence[str] = (), **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faceter", "up", "--data-dir", str(data_dir), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=data_dir.parent,
            env=clean_environment() | environment,
            start_new_session=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def hears(self, pattern: str) -> re.Match[str]:
        """Wait until something like ``pattern`` was printed."""
        matches: list[re.Match[str]] = []

        def search() -> bool:
            matches.extend(re.finditer(pattern, self.output))
            return bool(matches) or self.process.poll() is not None

        wait_until(search, lambda: f"{pattern!r} was not printed. Output:\n{self.output}")
        assert matches, f"it ended without printing {pattern!r}. Output:\n{self.output}"
        return matches[0]

    def pid(self, part: str) -> int:
        """Return the process id of a component, as printed at startup."""
        return int(self.hears(rf"{part}\D* process (\d+)")[1])

    @property
    def url(self) -> str:
        return self.hears(r"Console (http://127\.0\.0\.1:\d+)")[1]

    def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        return status

    def close(self) -> None:
        """Close its output."""
        assert self.process.stdout is not None
        self.process.stdout.close()


def wait_until(condition: Callable[[], bool], complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


Start = Callable[..., Up]

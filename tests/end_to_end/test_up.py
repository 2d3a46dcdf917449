"""``faceter up``: real processes that start together, are supervised and stop together."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from redis import Redis

from faceter.contracts.settings import Settings
from faceter.processes.embedded_store import EmbeddedValkey

pytestmark = pytest.mark.end_to_end

_PATIENCE = 60.0


class Up:
    """A running ``faceter up`` and its output."""

    def __init__(self, data_dir: Path, arguments: Sequence[str] = (), **environment: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FACETER_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "faceter", "up", "--data-dir", str(data_dir), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=data_dir.parent,
            env=clean | environment,
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

        _wait(search, lambda: f"{pattern!r} was not printed. Output:\n{self.output}")
        assert matches, f"it ended without printing {pattern!r}. Output:\n{self.output}"
        return matches[0]

    def pid(self, part: str) -> int:
        """Return the process id of a component, as printed at startup."""
        return int(self.hears(rf"{part}\D* process (\d+)")[1])

    @property
    def url(self) -> str:
        return self.hears(r"(http://127\.0\.0\.1:\d+)/docs")[1]

    def end(self, number: signal.Signals) -> int:
        """Send a signal, wait for the end and return the exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)
        return status


def _wait(condition: Callable[[], bool], complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _marked(data_dir: Path) -> list[int]:
    """Return every process that was started for this data directory, by its environment or its folder."""
    matches = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment, folder = (entry / "environ").read_bytes(), (entry / "cwd").resolve()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if os.fsencode(data_dir) in environment or folder.is_relative_to(data_dir):
            matches.append(int(entry.name))
    return [pid for pid in matches if _alive(pid)]


Start = Callable[..., Up]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a ``faceter up`` that is always stopped after the test."""
    started: list[Up] = []

    def start(data_dir: Path, *arguments: str, **environment: str) -> Up:
        started.append(Up(data_dir, arguments, **environment))
        return started[-1]

    yield start
    for up in started:
        if up.process.poll() is None:
            up.process.kill()
        up.wait()
        assert up.process.stdout is not None
        up.process.stdout.close()


def test_all_processes_start_and_ctrl_c_stops_them_without_loss(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    up = start(data, "--port", "0")
    up.hears("Ready after")
    assert httpx.get(f"{up.url}/readyz", timeout=10).status_code == 200
    assert httpx.get(f"{up.url}/docs", timeout=10).status_code == 200
    assert len(_marked(data)) >= 3
    with Redis.from_url(Settings(data_dir=data).resolved_redis_url) as redis:
        redis.set("kept", "yes")

    assert up.end(signal.SIGINT) == 0
    assert up.output.endswith("Stopped.\n")
    assert "Traceback" not in up.output
    assert _marked(data) == []
    with EmbeddedValkey(Settings(data_dir=data).valkey_dir) as server, Redis.from_url(server.url) as redis:
        assert redis.get("kept") == b"yes"


def test_a_second_up_on_the_same_data_directory_is_refused(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    first = start(data, "--port", "0", "--workers", "0")
    url = first.url
    second = start(data, "--port", "0")
    assert second.wait() == 2
    assert f"already up on {data} (process {first.process.pid}, at {url})" in second.output
    assert httpx.get(f"{url}/healthz", timeout=10).status_code == 200


def test_a_port_in_use_is_named_and_nothing_is_started(tmp_path: Path, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        up = start(tmp_path / "data", "--port", str(port))
        assert up.wait() == 2
    assert f"cannot listen on port {port} of 127.0.0.1" in up.output
    assert "--port" in up.output
    assert not (tmp_path / "data" / "valkey").exists()


def test_after_sigkill_no_process_is_left_and_up_restarts(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    up = start(data, "--port", "0")
    up.hears("Ready after")
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    _wait(lambda: not _marked(data), lambda: f"left behind: {_marked(data)}")
    again = start(data, "--port", "0", "--workers", "0")
    assert httpx.get(f"{again.url}/healthz", timeout=10).status_code == 200


def test_a_component_that_dies_is_restarted_and_reported(tmp_path: Path, start: Start) -> None:
    up = start(tmp_path / "data", "--port", "0", "--workers", "2")
    up.hears("Ready after")
    os.kill(up.pid("worker 2"), signal.SIGKILL)
    up.hears(r"The worker 2 ended \(killed by SIGKILL\); starting it again in 0\.5 s\.")
    os.kill(up.pid("API"), signal.SIGKILL)
    up.hears(r"The API ended \(killed by SIGKILL\); starting it again in 0\.5 s\.")
    os.kill(up.pid("store"), signal.SIGKILL)
    up.hears(r"The embedded Valkey ended \(killed by SIGKILL\); starting it again")

    def ready() -> bool:
        try:
            return httpx.get(f"{up.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    _wait(ready, lambda: f"it did not recover:\n{up.output}")
    assert up.end(signal.SIGINT) == 0


def test_with_a_given_redis_no_server_is_started(tmp_path: Path, start: Start, redis_url: str) -> None:
    data = tmp_path / "data"
    up = start(data, "--port", "0", FACETER_REDIS_URL=redis_url)
    up.hears("no embedded server")
    up.hears("Ready after")
    assert not (data / "valkey").exists()
    assert up.end(signal.SIGTERM) == 0


def test_a_service_that_cannot_start_reports_it_and_ends(tmp_path: Path, start: Start) -> None:
    data = tmp_path / "data"
    up = start(data, "--port", "0", "--workers", "0", FACETER_BLOB_URL="no-such-protocol://bucket")
    assert up.wait() == 1
    assert "Giving up: the API ended 3 times before the service was ready." in up.output
    assert _marked(data) == []

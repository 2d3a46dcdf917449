"""``faceter up``: real processes that start together, are supervised and stop together."""

import os
import signal
import socket
from pathlib import Path

import httpx
import pytest
from redis import Redis

from faceter.contracts.settings import Settings
from faceter.processes.embedded_store import EmbeddedValkey
from tests.end_to_end.up_process import Start, alive, wait_until

pytestmark = pytest.mark.end_to_end


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
    return [pid for pid in matches if alive(pid)]


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
    wait_until(lambda: not _marked(data), lambda: f"left behind: {_marked(data)}")
    again = start(data, "--port", "0", "--workers", "0")
    assert httpx.get(f"{again.url}/healthz", timeout=10).status_code == 200


def test_a_component_that_dies_is_restarted_and_reported(tmp_path: Path, start: Start) -> None:
    up = start(tmp_path / "data", "--port", "0", "--workers", "2")
    up.hears("Ready after")
    os.kill(up.pid("worker 2"), signal.SIGKILL)
    up.hears(r"The worker 2 ended \(killed by SIGKILL\); starting it again in 0\.1 s\.")
    os.kill(up.pid("API"), signal.SIGKILL)
    up.hears(r"The API ended \(killed by SIGKILL\); starting it again in 0\.1 s\.")
    os.kill(up.pid("store"), signal.SIGKILL)
    up.hears(r"The embedded Valkey ended \(killed by SIGKILL\)\. Starting it again")

    def ready() -> bool:
        try:
            return httpx.get(f"{up.url}/readyz", timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(ready, lambda: f"it did not recover:\n{up.output}")
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

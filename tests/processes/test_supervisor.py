"""The pieces of ``faceter up`` that need no running service; the whole is in ``end_to_end/test_up.py``."""

import http.server
import os
import sys
import threading
from pathlib import Path

import pytest

from faceter.contracts.settings import Settings
from faceter.processes.supervisor import Supervisor, SupervisorError, _free_port, _lock, _Part, answers, local_url


def _ended(part: _Part) -> None:
    part.start()
    assert part.process is not None
    part.process.wait()


def test_a_part_that_keeps_ending_is_started_ever_more_slowly_up_to_half_a_minute() -> None:
    part = _Part("worker", [sys.executable, "-I", "-S", "-c", "raise SystemExit(3)"], dict(os.environ))
    delays = []
    for _ in range(8):
        _ended(part)
        assert part.ended() == 3
        delays.append(part.plan_restart())
        assert part.ended() is None
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_part_that_ran_for_long_is_started_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    part = _Part("worker", [sys.executable, "-I", "-S", "-c", ""], dict(os.environ), failures=5)
    monkeypatch.setattr("faceter.processes.supervisor._STABLE_SECONDS", -1.0)
    _ended(part)
    assert part.plan_restart() == 0.5


def test_what_a_part_left_behind_is_ended_with_it() -> None:
    code = "import os, time; os.fork() or time.sleep(60)"
    part = _Part("worker", [sys.executable, "-I", "-S", "-c", code], dict(os.environ))
    _ended(part)
    assert part.process is not None
    session = part.process.pid
    assert _session(session)
    part.plan_restart()
    deadline = threading.Event()
    for _ in range(200):
        if not _session(session):
            break
        deadline.wait(0.02)
    assert not _session(session)


def _session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    living = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == leader and "Z" not in (entry / "stat").read_text().rpartition(")")[2]:
                living.append(int(entry.name))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return living


def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(_env_file=None, data_dir=tmp_path / "file" / "data")
    with pytest.raises(SupervisorError, match="--data-dir") as caught:
        Supervisor(settings).run()
    assert str(settings.data_dir) in str(caught.value)


def test_a_data_directory_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with _lock(tmp_path) as claim:
        claim("http://127.0.0.1:8123")
        with (
            pytest.raises(SupervisorError, match=rf"process {os.getpid()}, at http://127\.0\.0\.1:8123"),
            _lock(tmp_path),
        ):
            pass
    with _lock(tmp_path):
        pass


def test_a_claim_that_cannot_be_read_is_no_reason_to_fail(tmp_path: Path) -> None:
    with _lock(tmp_path):
        (tmp_path / "faceter.lock").write_text("")
        with pytest.raises(SupervisorError, match="a process that has not yet said which"), _lock(tmp_path):
            pass


def test_port_zero_gives_a_free_one_and_a_host_that_is_not_here_is_named() -> None:
    assert _free_port("127.0.0.1", 0) > 0
    with pytest.raises(SupervisorError, match=r"port 8000 of 192\.0\.2\.1"):
        _free_port("192.0.2.1", 8000)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("faceter.example", "http://faceter.example:80"),
    ],
)
def test_the_address_to_reach_a_host_at(host: str, url: str) -> None:
    assert local_url(host, 80) == url


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_only_200_counts_as_an_answer() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = local_url("127.0.0.1", server.server_port)
        assert answers(f"{url}/healthz")
        assert not answers(f"{url}/readyz")
        server.shutdown()
        thread.join()
    assert not answers(f"{url}/healthz")

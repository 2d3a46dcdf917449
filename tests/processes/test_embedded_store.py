"""The embedded Valkey, as a real process."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from faceter.contracts.settings import Settings, embedded_socket
from faceter.processes.embedded_store import EmbeddedValkey, EmbeddedValkeyError, Startup


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "name", ["valkey", 'with space, "quotes", back\\slash, ö, %20 and ?#', "x" * 120], ids=["plain", "odd", "long"]
)
def test_data_persists_across_restarts(tmp_path: Path, name: str) -> None:
    for expected in (None, b"1"):
        with EmbeddedValkey(tmp_path / name) as server, Redis.from_url(server.url) as redis:
            assert redis.get("key") == expected
            redis.set("key", 1)


def test_it_listens_on_a_private_socket_and_no_port(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        assert redis.config_get("port") == {"port": "0"}
        assert redis.config_get("appendonly") == {"appendonly": "yes"}
        assert redis.config_get("appendfsync") == {"appendfsync": "everysec"}
        assert server.socket.stat().st_mode & 0o777 == 0o700


def test_settings_find_the_server_by_the_data_directory_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / ("y" * 90))
    with EmbeddedValkey(settings.valkey_dir) as server:
        assert settings.resolved_redis_url == server.url
        with Redis.from_url(settings.resolved_redis_url) as redis:
            assert redis.ping()


def test_a_socket_path_never_exceeds_the_kernel_limit(tmp_path: Path) -> None:
    for length in (1, 60, 90, 100, 200):
        path = embedded_socket(tmp_path / ("d" * length))
        assert len(os.fsencode(path)) <= 103
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises((FileNotFoundError, ConnectionRefusedError)):
            probe.connect(str(path))
    assert embedded_socket(tmp_path / ("d" * 200)) != embedded_socket(tmp_path / ("e" * 200))


def test_a_second_server_on_the_same_directory_is_refused_and_the_first_keeps_running(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server:
        with pytest.raises(EmbeddedValkeyError, match="Another Valkey server is running on"):
            EmbeddedValkey(tmp_path).start()
        with Redis.from_url(server.url) as redis:
            assert redis.ping()


def test_starting_twice_is_an_error(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, pytest.raises(EmbeddedValkeyError, match="already"):
        server.start()


def test_stopping_a_server_that_is_not_running_does_nothing(tmp_path: Path) -> None:
    server = EmbeddedValkey(tmp_path)
    server.stop()
    with pytest.raises(EmbeddedValkeyError, match="not been started"):
        _ = server.pid


def test_a_failed_start_reports_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("not a manifest\n")
    server = EmbeddedValkey(tmp_path)
    with pytest.raises(EmbeddedValkeyError, match=r"(?s)exited at once.*valkey.log.*manifest"):
        server.start()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").unlink()
    with server:
        assert _alive(server.pid)


def test_a_shared_socket_folder_that_others_can_open_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    monkeypatch.setattr("faceter.processes.embedded_store.embedded_socket", lambda _: open_to_all / "valkey.sock")
    with pytest.raises(EmbeddedValkeyError, match="only this user can open"):
        EmbeddedValkey(tmp_path / "data").start()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the kernel ends children with their parent on Linux only"
)
def test_it_exits_with_its_parent_without_losing_data(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from faceter.processes.embedded_store import EmbeddedValkey\n"
        "server = EmbeddedValkey(Path(sys.argv[1])).start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        with Redis.from_url(EmbeddedValkey(tmp_path).url) as redis:
            redis.set("key", "value")
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(pid)
    with EmbeddedValkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        assert redis.get("key") == b"value"


def test_every_acknowledged_write_survives_sigkill(tmp_path: Path) -> None:
    written = 0
    for _ in range(3):
        with EmbeddedValkey(tmp_path) as server, Redis.from_url(server.url) as redis:
            assert redis.dbsize() == written
            for _ in range(300):
                written += 1
                redis.set(f"key {written}", written)
            os.kill(server.pid, signal.SIGKILL)


class _SlowToLoad(EmbeddedValkey):
    """A server that takes half a millisecond to load a key."""

    def _configuration(self) -> str:
        return super()._configuration() + "key-load-delay 500\n"


def test_a_server_that_loads_for_long_is_waited_for(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as server, Redis.from_url(server.url) as redis:
        pipeline = redis.pipeline(transaction=False)
        for number in range(6000):
            pipeline.set(f"key {number}", "x")
        pipeline.execute()
    slow = _SlowToLoad(tmp_path)
    for until in (Startup.LAUNCHED, Startup.RESPONDING):
        slow.start(1.5, until)
        assert not slow.responds()
        slow.stop()
    slow.start(1.5)
    assert slow.responds()
    slow.stop()

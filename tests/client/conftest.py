"""A real service for the client's tests: uvicorn in a thread, a worker, on a Valkey of their own."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from app.main import create_app
from faceter import Client
from faceter.contracts.settings import Settings
from tests.app.conftest import serving
from tests.client.flaky_proxy import FlakyProxy
from tests.conftest import start_valkey
from tests.workers.processes import WorkerProcess


@pytest.fixture(scope="package")
def service_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    directory = Path(tempfile.mkdtemp(prefix="fct-"))
    server = start_valkey(directory)
    yield Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("data"),
        redis_url=f"unix://{server.unix_socket_path}",
        measure_serving=False,
    )
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="package")
def url(service_settings: Settings) -> Iterator[str]:
    """Address of the API, without a worker."""
    with serving(create_app(service_settings)) as url:
        yield url


@pytest.fixture(scope="package")
def worker(service_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker with torch, which takes the jobs of all later tests."""
    with WorkerProcess(service_settings, tmp_path_factory.mktemp("worker") / "log", whole=True) as worker:
        yield worker
        worker.stop()


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    with Client(url) as client:
        yield client


@pytest.fixture
def proxy(url: str) -> Iterator[FlakyProxy]:
    """A proxy before the API, which fails as it is told."""
    with FlakyProxy(url) as proxy:
        yield proxy

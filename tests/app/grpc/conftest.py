"""A real API with both ports, in a thread, and Triton's gRPC client."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import tritonclient.grpc as triton
from fastapi import FastAPI

from app.main import create_app
from faceter.contracts.settings import Settings
from tests.app.conftest import serving

MESSAGE_BYTES = 1_000_000


@dataclass(frozen=True)
class BothPorts:
    """An API, its HTTP client and the address of its gRPC port."""

    app: FastAPI
    http: httpx.Client
    address: str


@pytest.fixture(scope="package")
def running(shared_settings: Settings) -> Iterator[BothPorts]:
    """The API, which starts once."""
    app = create_app(shared_settings.model_copy(update={"grpc_port": 0, "max_predict_bytes": MESSAGE_BYTES}))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield BothPorts(app, http, f"127.0.0.1:{app.state.grpc_port}")


@pytest.fixture
def both(running: BothPorts, settings: Settings) -> BothPorts:
    """That API, emptied."""
    running.app.state.core.sessions.close()
    return running


@pytest.fixture
def client(both: BothPorts) -> Iterator[triton.InferenceServerClient]:
    """Triton's client of the gRPC port, as it is."""
    with triton.InferenceServerClient(both.address) as client:
        yield client

"""Deadlines and cancellation over gRPC, with the client of Triton as it is."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from fastapi import FastAPI
from tritonclient.utils import InferenceServerException

from app.main import create_app
from app.services.predictions.pool import InferencePool
from faceter.contracts.settings import Settings
from tests.app.conftest import serving
from tests.app.grpc.conftest import BothPorts
from tests.app.grpc.test_clients import adding, tensor
from tests.app.uploads import add_model
from tests.engines import graphs
from tests.workers.processes import eventually

LATE = "StatusCode.DEADLINE_EXCEEDED"


@pytest.fixture
def one_worker(settings: Settings) -> Iterator[BothPorts]:
    limits = {"grpc_port": 0, "inference_seconds": 10, "inference_workers": 1, "max_waiting_per_model": 1}
    app: FastAPI = create_app(settings.model_copy(update=limits))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as http:
        yield BothPorts(app, http, f"127.0.0.1:{app.state.grpc_port}")


@pytest.fixture
def client(one_worker: BothPorts) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(one_worker.address) as client:
        yield client


@pytest.fixture
def pool(one_worker: BothPorts) -> InferencePool:
    pool: InferencePool = one_worker.app.state.core.pool
    return pool


@pytest.fixture
def slow(one_worker: BothPorts) -> str:
    """Id of a model whose run ends by an interrupt only."""
    return str(add_model(one_worker.http, graphs.endless(), metadata=None)["id"])


@pytest.fixture
def quick(one_worker: BothPorts) -> str:
    return str(add_model(one_worker.http, graphs.adder(), metadata=None)["id"])


def endless() -> list[triton.InferInput]:
    return [tensor("times", np.array(2**60, np.int64), "INT64")]


def refused(call: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(InferenceServerException) as caught:
        call()
    return str(caught.value.status()), str(caught.value.message())


def nothing(result: object, error: object) -> None:
    """Take the result of a call that is canceled."""


@pytest.mark.parametrize("options", [{"timeout": 300_000}, {"timeout": 300_000, "client_timeout": 9}])
def test_a_run_ends_at_the_timeout_of_its_request(
    client: triton.InferenceServerClient, pool: InferencePool, slow: str, quick: str, options: dict[str, Any]
) -> None:
    status, message = refused(lambda: client.infer(slow, endless(), **options))
    assert (status, "within the 0.3 seconds it allowed: it was running" in message) == (LATE, True)
    eventually(lambda: pool.calls == 0)
    assert client.infer(quick, adding(), timeout=0).as_numpy("sum").shape == (2, 2)
    assert pool.statistics().refused == {"deadline": 1}


@pytest.mark.parametrize("waiting", [True, False])
def test_a_call_ends_at_its_deadline(
    client: triton.InferenceServerClient, pool: InferencePool, slow: str, quick: str, *, waiting: bool
) -> None:
    if waiting:
        first = client.async_infer(slow, endless(), nothing)
        eventually(lambda: pool.statistics().running == 1)
    model, inputs = (quick, adding()) if waiting else (slow, endless())
    began = time.perf_counter()
    assert refused(lambda: client.infer(model, inputs, client_timeout=0.3))[0] == LATE
    assert time.perf_counter() - began < 5
    if waiting:
        eventually(lambda: pool.statistics().waiting == 0)
        assert pool.statistics().running == 1
        first.cancel()
    eventually(lambda: pool.calls == 0)
    assert pool.statistics().refused["deadline"] == 1
    assert client.infer(quick, adding(), client_timeout=30).as_numpy("sum").shape == (2, 2)


def test_a_client_that_cancels_is_taken_out_of_the_queue_and_its_run_stopped(
    one_worker: BothPorts, client: triton.InferenceServerClient, pool: InferencePool, slow: str, quick: str
) -> None:
    running = client.async_infer(slow, endless(), nothing)
    eventually(lambda: pool.statistics().running == 1)
    waiting = client.async_infer(quick, adding(), nothing)
    eventually(lambda: pool.statistics().waiting == 1)
    status, message = refused(lambda: client.infer(quick, adding()))
    assert (status, "are waiting" in message) == ("StatusCode.RESOURCE_EXHAUSTED", True)
    waiting.cancel()
    eventually(lambda: pool.statistics().waiting == 0)
    assert pool.statistics().running == 1
    running.cancel()
    eventually(lambda: pool.calls == 0)
    assert pool.statistics().refused == {"client_left": 2, "model_full": 1}
    assert client.infer(quick, adding()).as_numpy("sum").shape == (2, 2)
    counted = 'route="/inference.GRPCInferenceService/ModelInfer",status="499"} 2.0'
    eventually(lambda: counted in one_worker.http.get("/metrics").text)


@pytest.mark.parametrize("timeout", [-1, "soon", True])
def test_a_timeout_that_is_no_time_is_refused(client: triton.InferenceServerClient, quick: str, timeout: Any) -> None:
    status, message = refused(lambda: client.infer(quick, adding(), parameters={"timeout": timeout}))
    assert (status, "microseconds" in message) == ("StatusCode.INVALID_ARGUMENT", True)


def test_a_call_continues_the_trace_of_its_metadata(one_worker: BothPorts) -> None:
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with grpc.insecure_channel(one_worker.address) as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        call = live.with_call(b"", metadata=[("traceparent", f"00-{trace}-{span}-01")])[1]
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as caught:
            infer(b"", metadata=[("traceparent", f"00-{trace}-{span}-01")])
    answered = {dict(ended.trailing_metadata())["traceparent"] for ended in (call, caught.value)}
    assert len(answered) == 2
    for header in answered:
        assert header.startswith(f"00-{trace}-")
        assert header.endswith("-01")
        assert span not in header

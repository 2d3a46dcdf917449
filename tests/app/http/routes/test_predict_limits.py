"""Limits of predictions: full queues, deadlines, priorities, and clients that leave."""

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from faceter.contracts.errors import ProblemKind
from faceter.contracts.settings import Settings
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model
from tests.engines import graphs

ENDLESS = {"inputs": {"times": 2**60}}


@pytest.fixture
def one_worker(start_server: Callable[[Settings], httpx.Client], settings: Settings) -> httpx.Client:
    limits = {
        "inference_seconds": 1.5,
        "inference_workers": 1,
        "max_waiting_predictions": 3,
        "max_waiting_per_model": 2,
    }
    return start_server(settings.model_copy(update=limits))


def predict_address(api: httpx.Client, content: bytes) -> str:
    return f"/v1/models/{add_model(api, content, metadata=None)['id']}/predict"


def test_a_model_whose_queue_is_full_is_refused_and_others_are_not(one_worker: httpx.Client) -> None:
    endless, quick = (predict_address(one_worker, content) for content in (graphs.endless(), graphs.adder()))
    with ThreadPoolExecutor(8) as pool:
        stuck = [pool.submit(one_worker.post, endless, json=ENDLESS, timeout=30) for _ in range(7)]
        time.sleep(0.3)
        summed = one_worker.post(quick, json={"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}, timeout=30)
        answers = [item.result() for item in stuck]
    assert summed.json()["outputs"] == {"sum": [[4, 6]]}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 4
    for answer in refused:
        assert "of mdl_" in problem(answer, ProblemKind.TOO_MANY_REQUESTS).detail
        assert 1 <= int(answer.headers["retry-after"]) <= 30


def test_a_request_ends_at_its_deadline_while_it_waits_and_while_it_runs(one_worker: httpx.Client) -> None:
    endless, quick = (predict_address(one_worker, content) for content in (graphs.endless(), graphs.adder()))
    body = {"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}
    began = time.perf_counter()
    running = one_worker.post(endless, json=ENDLESS, headers={"X-Request-Timeout": "0.2"})
    assert "running" in problem(running, ProblemKind.DEADLINE_EXCEEDED).detail
    assert time.perf_counter() - began < 1.4
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(one_worker.post, endless, json=ENDLESS)
        time.sleep(0.2)
        waiting = one_worker.post(quick, json=body, headers={"X-Request-Timeout": "0.2"})
        assert "waiting" in problem(waiting, ProblemKind.DEADLINE_EXCEEDED).detail
        stuck.result()
    assert one_worker.post(quick, json=body, headers={"X-Request-Timeout": "30"}).status_code == 200


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1e9", "nan"])
def test_a_deadline_that_is_no_time_is_refused(one_worker: httpx.Client, timeout: str) -> None:
    address = predict_address(one_worker, graphs.adder())
    answer = one_worker.post(address, json={"inputs": {}}, headers={"X-Request-Timeout": timeout})
    assert problem(answer, ProblemKind.INVALID_REQUEST).errors[0].field.lower() == "x-request-timeout"


def test_urgent_requests_come_first(one_worker: httpx.Client) -> None:
    endless, quick = (predict_address(one_worker, content) for content in (graphs.endless(), graphs.adder()))
    body, ended = {"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}, []

    def post(priority: str) -> None:
        assert one_worker.post(quick, json=body, headers={"Priority": priority}, timeout=30).status_code == 200
        ended.append(priority)

    with ThreadPoolExecutor(3) as pool:
        stuck = pool.submit(one_worker.post, endless, json=ENDLESS)
        time.sleep(0.3)
        calls = []
        for priority in ("u=7, i", "i, u=0"):
            calls.append(pool.submit(post, priority))
            time.sleep(0.1)
        stuck.result()
        for call in calls:
            call.result()
    assert ended == ["i, u=0", "u=7, i"]


def test_work_of_a_client_that_left_is_dropped(one_worker: httpx.Client) -> None:
    endless, quick = (predict_address(one_worker, content) for content in (graphs.endless(), graphs.adder()))
    content = json.dumps(ENDLESS).encode()
    lines = [f"POST {endless} HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    head = "\r\n".join([*lines, "", ""])
    url = one_worker.base_url
    for _ in range(3):
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(head.encode() + content)
            time.sleep(0.1)
    began = time.perf_counter()
    body = {"inputs": {"a": [[1, 2]], "b": [[3, 4]]}}
    assert one_worker.post(quick, json=body).status_code == 200
    assert time.perf_counter() - began < 1.0


def test_pipelined_requests_are_answered_in_their_order(api: httpx.Client) -> None:
    address = predict_address(api, graphs.adder())
    sent = b""
    for number in range(5):
        content = json.dumps({"inputs": {"a": [[number, 0]], "b": [[0, 0]]}}).encode()
        lines = [f"POST {address} HTTP/1.1", "Host: x", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(content)}", *(["Connection: close"] if number == 4 else []), "", ""]
        sent += "\r\n".join(lines).encode() + content
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=10) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    sums = [json.loads(part.partition(b"\r\n\r\n")[2])["outputs"]["sum"] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert sums == [[[number, 0]] for number in range(5)]

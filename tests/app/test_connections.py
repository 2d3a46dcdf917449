"""Connections: slow clients are disconnected, large headers refused, honest ones served."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPResponse

import pytest
import uvicorn

from app.connections import Connection, ConnectionLimits

_LIMITS = ConnectionLimits(header_seconds=0.5, header_bytes=4096, body_idle_seconds=0.5)
_GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def _echo(scope, receive, send):  # type: ignore[no-untyped-def]
    """Respond with the size of the body, after a second if the path says so."""
    assert scope["type"] == "http"
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(1.0)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Port of a server with narrow limits."""
    config = uvicorn.Config(
        _echo,
        port=0,
        http=partial(Connection, limits=_LIMITS),  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        limit_concurrency=20,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def ended(connection: socket.socket) -> tuple[bytes, float]:
    """Return what arrives until the server closes the connection, and after how many seconds it does."""
    started, received = time.monotonic(), b""
    connection.settimeout(10)
    while part := connection.recv(65536):
        received += part
    return received, time.monotonic() - started


def answer(connection: socket.socket) -> bytes:
    """Return the body of the answer to a request."""
    with HTTPResponse(connection) as response:
        response.begin()
        assert response.status == 200
        return response.read()


@pytest.mark.parametrize("first", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX-A"])
def test_a_header_that_does_not_arrive_ends_the_connection(port: int, first: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(first)
        received, seconds = ended(connection)
    assert received == b""
    assert 0.3 < seconds < 5


def test_a_header_byte_by_byte_ends_the_connection_as_well(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setblocking(False)
        deadline = time.monotonic() + 10
        for byte in b"GET / HTTP/1.1\r\nX-A: " + b"a" * 1000:
            with suppress(BlockingIOError):
                if connection.recv(1) == b"" or time.monotonic() > deadline:
                    break
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
        assert time.monotonic() < deadline


def test_a_second_request_has_the_same_limit(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_GET)
        assert answer(connection) == b"0"
        connection.sendall(b"GET /again HT")
        assert ended(connection)[0] == b""


def test_a_body_that_stops_ends_the_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
        received, seconds = ended(connection)
    assert received == b""
    assert seconds < 5


def test_a_slow_body_that_goes_on_is_read(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            time.sleep(0.15)
            connection.sendall(b"x")
        assert answer(connection) == b"8"


def test_a_slow_answer_is_no_slow_client(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_GET.replace(b"/ ", b"/slow "))
        connection.settimeout(5)
        assert answer(connection) == b"0"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 8192,
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 8192 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: a\r\n" * 1024 + b"\r\n",
        b"GET /?" + b"a" * 8192 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        _GET + b"GET /again HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 8192 + b"\r\n\r\n",
    ],
    ids=["without its end", "whole", "many lines", "address", "second request"],
)
def test_a_large_header_is_refused(port: int, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request_)
        received, _ = ended(connection)
    assert b"HTTP/1.1 431 " in received
    assert received.count(b"headers-too-large") == 1


def test_what_is_no_request_is_answered_as_such(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"no request at all\r\n\r\n")
        received, _ = ended(connection)
    assert received.startswith(b"HTTP/1.1 400 ")


def test_large_bodies_and_many_small_requests_are_no_large_header(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(200):
            connection.sendall(_GET)
            assert answer(connection) == b"0"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000)
        connection.settimeout(5)
        assert answer(connection) == b"100000"


def test_many_idle_connections_leave_room_for_others_soon(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(25)]
    time.sleep(1.0)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(_GET)
        assert answer(connection) == b"0"
    for one in idle:
        one.close()

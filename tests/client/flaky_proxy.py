"""A proxy before a service that fails as it is told, with real sockets."""

import json
import socket
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

import httpx

Fault = Literal["busy", "busy-long", "bad-gateway", "lose-request", "lose-answer", "cut-stream"]
"""503 with `Retry-After: 0`, or 3600; a gateway's own page; a reset before or after the service did it; the end of a
stream after its first event."""


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FlakyProxy:
    """Forwards requests, and fails those at the beginning that it is told to."""

    def __init__(self, target: str) -> None:
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._answer(self, target)

            do_POST = do_DELETE = do_GET  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(self, *faults: Fault) -> None:
        """Let the next requests fail so."""
        self.faults = list(faults)
        self.seen.clear()

    def idempotency_keys(self) -> set[str | None]:
        """Return the idempotency keys of the requests that came."""
        return {seen.headers.get("idempotency-key") for seen in self.seen}

    def _answer(self, handler: BaseHTTPRequestHandler, target: str) -> None:
        body = _body(handler)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.seen.append(Seen(handler.command, handler.path, headers, body))
        fault = self.faults.pop(0) if self.faults else None
        if fault in ("busy", "busy-long"):
            problem = {"type": "/problems/overloaded", "title": "Overloaded", "status": 503, "detail": "Come back."}
            wait = "0" if fault == "busy" else "3600"
            _send(handler, 503, [("Content-Type", "application/problem+json"), ("Retry-After", wait)], problem)
            return
        if fault == "bad-gateway":
            _send(handler, 502, [("Content-Type", "text/html")], "<h1>Bad Gateway</h1>")
            return
        if fault == "lose-request":
            _reset(handler)
            return
        kept = {name: value for name, value in headers.items() if name not in ("host", "connection", "content-length")}
        with httpx.stream(
            handler.command, f"{target}{handler.path}", content=body, headers=kept, timeout=60
        ) as response:
            if fault == "lose-answer":
                response.read()
                _reset(handler)
                return
            if fault == "cut-stream":
                _forward_some(handler, response)
                return
            response.read()
            names = ("content-type", "location", "retry-after", "x-request-id", "content-disposition")
            sent = [(name, response.headers[name]) for name in names if name in response.headers]
            _send(handler, response.status_code, sent, response.content)


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    return handler.rfile.read(int(handler.headers.get("Content-Length", 0)))


def _send(
    handler: BaseHTTPRequestHandler, status: int, headers: Iterable[tuple[str, str]], body: bytes | str | object
) -> None:
    content = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    handler.send_response(status)
    for name, value in headers:
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def _forward_some(handler: BaseHTTPRequestHandler, response: httpx.Response) -> None:
    """Forward a stream up to the end of its first event, and close the connection in the middle."""
    handler.send_response(response.status_code)
    handler.send_header("Content-Type", response.headers["content-type"])
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    content = b""
    for chunk in response.iter_raw():
        content += chunk
        if b"\r\n\r\n" in content:
            break
    content = content[: content.index(b"\r\n\r\n") + 4]
    handler.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
    handler.close_connection = True


def _reset(handler: BaseHTTPRequestHandler) -> None:
    """Close a connection so that the other side sees it broken."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()

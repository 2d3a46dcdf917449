"""HTTP connections: limits of slow and large requests, and an end that loses none."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from faceter.contracts.errors import FaceterError, ProblemKind

_DRAIN_SECONDS: Final = 1.0
"""How long an idle connection may still bring a request after the process was told to stop."""


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of one connection."""

    header_seconds: float
    """Time in which the whole header of a request must arrive."""
    header_bytes: int
    """Size of that header."""
    body_idle_seconds: float
    """Time between two parts of a body."""


class Connection(HttpToolsProtocol):
    """An HTTP connection with limits, which loses no request when the process stops.

    Clients that send the header or the body of a request too slowly are disconnected, so that they hold no connection
    for ever. When the process stops, an idle connection is closed a second later, unless it brings another request;
    that request is answered with `Connection: close`.

    Args:
        limits: Limits of slow and large requests.
        **arguments: Those of uvicorn.
    """

    _draining = False
    _timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _parsed_bytes = 0
    _in_header = True
    _in_body = False

    def __init__(self, *, limits: ConnectionLimits, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request, within the limits."""
        if not self._in_header and not self._in_body:
            self._wait_for_header()
        if self._in_header:
            self._header_bytes += len(data)
        elif self._in_body:
            self._wait_for_body()
        super().data_received(data)
        if self._in_header and self._header_bytes > self._limits.header_bytes and not self.transport.is_closing():
            self._refuse_header()

    def on_url(self, url: bytes) -> None:
        """Count the address as a part of the header."""
        self._parsed_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a line of the header, with its separators."""
        self._parsed_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin a request; ValueError, which ends the parser, if its header is too large."""
        parsed, self._parsed_bytes = self._parsed_bytes, 0
        if parsed > self._limits.header_bytes:
            self._refuse_header()
            raise ValueError
        self._in_header, self._in_body, self._header_bytes = False, True, 0
        self._wait_for_body()
        super().on_headers_complete()
        if self._draining:
            self._close_after_last()

    def on_message_complete(self) -> None:
        """End a request; the next one begins with its first byte."""
        self._in_body = False
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP request, unless it has been refused for its size."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """Close the connection after its present request, or soon if it has none."""
        self._draining = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(_DRAIN_SECONDS, self._close_if_idle)
        else:
            self._close_after_last()

    def _close_after_last(self) -> None:
        cycles = [self.cycle, *(cycle for cycle, _ in reversed(self.pipeline))]
        for cycle in cycles[:-1]:
            cycle.keep_alive = True
        cycles[-1].keep_alive = False

    def _close_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    def _wait_for_header(self) -> None:
        self._in_header = True
        self._start_timer(self._limits.header_seconds)

    def _wait_for_body(self) -> None:
        self._start_timer(self._limits.body_idle_seconds)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        """Close the connection, unless it is this process that does not read."""
        if self._in_body and self.flow.read_paused:
            self._wait_for_body()
        else:
            self.transport.close()

    def _refuse_header(self) -> None:
        self._refuse(
            ProblemKind.HEADERS_TOO_LARGE,
            f"The header of the request is larger than the limit of {self._limits.header_bytes:,} bytes.",
        )

    def _refuse(self, kind: ProblemKind, detail: str) -> None:
        body = json.dumps(FaceterError(kind, detail).problem().model_dump()).encode()
        self.transport.write(
            f"HTTP/1.1 {kind.status} {kind.title}\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )
        self.transport.close()

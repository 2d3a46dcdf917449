"""Addresses of the service: its port, its URL, and URLs for display."""

import http.client
import re
import socket
from urllib.parse import urlsplit

from faceter.processes.errors import SupervisorError


def free_port(host: str, port: int) -> int:
    """Return ``port``, or a free one if it is 0, after checking that it can be bound.

    Raises:
        SupervisorError: If it cannot.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise SupervisorError(
            f"The API cannot listen on port {port} of {host}: {error.strerror or error}. "
            "Choose another with --port or FACETER_PORT; --port 0 takes a free one."
        ) from error


def local_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches an API that listens on ``host`` and ``port``."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def responds(url: str) -> bool:
    """Return whether ``url`` responds with status 200 within two seconds."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=2.0)
    try:
        connection.request("GET", address.path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def mask_password(url: str) -> str:
    """Return ``url`` with passwords, in the authority or in the query, replaced by three asterisks."""
    parts = urlsplit(url)
    netloc, query = (
        parts.netloc,
        re.sub(r"(^|&)((?:sentinel_)?password|secret|token|key)=[^&]*", r"\1\2=***", parts.query),
    )
    if parts.password is not None:
        netloc = f"{parts.username or ''}:***@{netloc.rpartition('@')[2]}"
    return (
        url if (netloc, query) == (parts.netloc, parts.query) else parts._replace(netloc=netloc, query=query).geturl()
    )

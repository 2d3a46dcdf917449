"""Ports, URLs and probes."""

import http.server
import threading

import pytest

from faceter.processes.addresses import free_port, local_url, responds
from faceter.processes.errors import SupervisorError


def test_port_zero_gives_a_free_one_and_an_unusable_host_is_named() -> None:
    assert free_port("127.0.0.1", 0) > 0
    with pytest.raises(SupervisorError, match=r"port 8000 of 192\.0\.2\.1"):
        free_port("192.0.2.1", 8000)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("faceter.example", "http://faceter.example:80"),
    ],
)
def test_the_url_of_a_host(host: str, url: str) -> None:
    assert local_url(host, 80) == url


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_only_status_200_counts_as_a_response() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = local_url("127.0.0.1", server.server_port)
        assert responds(f"{url}/healthz")
        assert not responds(f"{url}/readyz")
        server.shutdown()
        thread.join()
    assert not responds(f"{url}/healthz")

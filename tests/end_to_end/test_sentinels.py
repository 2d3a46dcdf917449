"""A Redis that Sentinels watch: when its primary dies, nothing acknowledged is lost and jobs go on."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Settings
from faceter.store.connection import connect, store_errors
from tests.app.uploads import add_model, image
from tests.end_to_end.sentinels import Sentinels
from tests.end_to_end.test_api_process import ApiProcess
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import WorkerProcess, eventually, has

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Sentinels]:
    with Sentinels(tmp_path / "store") as sentinels:
        yield sentinels


def test_the_death_of_the_primary_costs_seconds(sentinels: Sentinels, tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        redis_url=sentinels.url,
        worker_lost_seconds=30,
        measure_serving=False,
        events_heartbeat_seconds=0.2,
    )
    api = ApiProcess(settings, tmp_path / "api.log")
    with WorkerProcess(settings, tmp_path / "worker.log") as worker, connect(settings) as redis:
        try:
            queue = JobQueue(redis, settings, TASKS)
            model = add_model(api.client)
            running = queue.enqueue(job_spec("sleeps", 6))
            has(queue, running, JobStatus.RUNNING)
            waiting = queue.enqueue(job_spec("succeeds"))

            sentinels.kill_a_sentinel()
            sentinels.kill_primary()
            with pytest.raises(FaceterError) as away, store_errors():
                redis.set("faceter:test", "1")
            assert away.value.kind is ProblemKind.STORE_UNAVAILABLE

            eventually(lambda: _status(api.client, model["links"]["self"]) == 200, 30)
            assert api.client.post(model["actions"]["predict"], files={"file": ("a.png", image())}).status_code == 200
            followed = list(_event_names(api.client, running.id))
            assert followed[-1] == "end"
            ended = has(queue, running, JobStatus.SUCCEEDED)
            assert ended.attempts == 1, worker.log_text()
            has(queue, waiting, JobStatus.SUCCEEDED)
            assert redis.info("server")["tcp_port"] == sentinels.replica
        finally:
            api.close()


def _status(api: httpx.Client, address: str) -> int:
    return api.get(address).status_code


def _event_names(api: httpx.Client, job_id: str) -> Iterator[str]:
    with api.stream("GET", f"/v1/jobs/{job_id}/events", timeout=60) as response:
        for line in response.iter_lines():
            if line.startswith("event: "):
                yield line.removeprefix("event: ")

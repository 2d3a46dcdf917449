"""A network that is cut between a worker and the store: the job is done once, by whoever is connected."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Settings
from faceter.store.library import Library
from tests.end_to_end.network import CuttableNetwork
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import WorkerProcess, eventually, has

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url, worker_lost_seconds=5)


@pytest.fixture
def queue(redis: Redis, settings: Settings) -> JobQueue:
    return JobQueue(redis, settings, tasks=TASKS)


@pytest.fixture
def network(redis_url: str) -> Iterator[CuttableNetwork]:
    with CuttableNetwork(redis_url.removeprefix("unix://")) as network:
        yield network


def test_a_job_survives_a_short_cut(
    queue: JobQueue, settings: Settings, network: CuttableNetwork, tmp_path: Path
) -> None:
    behind = settings.model_copy(update={"redis_url": network.url, "worker_lost_seconds": 30})
    with WorkerProcess(behind, tmp_path / "worker.log") as worker:
        job = queue.enqueue(job_spec("sleeps", 2))
        has(queue, job, JobStatus.RUNNING, 60)
        network.cut()
        eventually(lambda: "Redis cannot be reached" in worker.log_text())
        network.mend()
        assert has(queue, job, JobStatus.SUCCEEDED, 60).attempts == 1


def test_a_job_behind_a_long_cut_is_done_by_another_worker_and_published_once(
    queue: JobQueue, settings: Settings, network: CuttableNetwork, library: Library, tmp_path: Path
) -> None:
    behind = settings.model_copy(update={"redis_url": network.url})
    with ExitStack() as stack:
        cut_off = stack.enter_context(WorkerProcess(behind, tmp_path / "cut-off.log"))
        job = queue.enqueue(job_spec("sleeps", 3))
        has(queue, job, JobStatus.RUNNING, 60)
        network.cut()
        other = stack.enter_context(WorkerProcess(settings, tmp_path / "other.log"))
        assert has(queue, job, JobStatus.SUCCEEDED, 90).attempts == 2
        other.stop()
        network.mend()
        has(queue, queue.enqueue(job_spec("succeeds")), JobStatus.SUCCEEDED, 60)
        assert library.models.count() == 2
        assert cut_off.process.poll() is None

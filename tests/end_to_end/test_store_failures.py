"""Jobs continue after failures of the store."""

import shutil
import time
from pathlib import Path

import pytest

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobStatus
from faceter.contracts.settings import Settings
from faceter.store.connection import connect
from tests.conftest import start_valkey, use_up
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import WorkerProcess, eventually, has


def test_the_store_restarts_during_a_job(short_path: Path, tmp_path: Path) -> None:
    server = start_valkey(short_path)
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        redis_url=f"unix://{short_path / 'valkey.sock'}",
        worker_lost_seconds=5,
    )
    with connect(settings) as redis, WorkerProcess(settings, tmp_path / "worker.log") as worker:
        queue = JobQueue(redis, settings, tasks=TASKS)
        job = queue.enqueue(job_spec("sleeps", 5))
        has(queue, job, JobStatus.RUNNING)
        idle = queue.enqueue(job_spec("succeeds"))
        server.stop()
        with pytest.raises(FaceterError) as away:
            queue.get(job.id)
        assert away.value.kind is ProblemKind.STORE_UNAVAILABLE
        assert away.value.retry_after
        time.sleep(6)
        server.start()
        done = has(queue, job, JobStatus.SUCCEEDED)
        assert done.attempts == 1
        has(queue, idle, JobStatus.SUCCEEDED)
        server.stop()
        time.sleep(1)
        assert worker.process.poll() is None
        server.start()
        has(queue, queue.enqueue(job_spec("succeeds")), JobStatus.SUCCEEDED)
        assert worker.stop() == 0
    server.stop()


def test_a_full_store_is_retried(short_path: Path, small_disk: Path, tmp_path: Path) -> None:
    server = start_valkey(small_disk, short_path / "valkey.sock")
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        redis_url=f"unix://{short_path / 'valkey.sock'}",
        worker_lost_seconds=5,
    )
    ballast = small_disk / "ballast"
    with connect(settings) as redis, WorkerProcess(settings, tmp_path / "worker.log") as worker:
        queue = JobQueue(redis, settings, tasks=TASKS)
        job = queue.enqueue(job_spec("sleeps", 3))
        has(queue, job, JobStatus.RUNNING)
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free))
        use_up(settings.resolved_redis_url)
        eventually(lambda: "waiting: Errors writing" in worker.log_text())
        assert worker.process.poll() is None
        ballast.unlink()
        assert has(queue, job, JobStatus.SUCCEEDED).attempts == 2
        assert "Traceback" not in worker.log_text()
        assert worker.stop() == 0
    server.stop()

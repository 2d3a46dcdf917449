"""Jobs run by real workers on a real Valkey server, with failures of processes and of the store."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobEvent, JobQueue
from faceter.contracts.base import Provenance
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import Job, JobStatus, QuantizationJob
from faceter.contracts.references import ResourceName
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints
from faceter.store.library import Library, files_of
from tests.workers.long_tasks import TASKS, job_spec
from tests.workers.processes import WorkerProcess, alive, eventually, has, try_cancel

pytestmark = pytest.mark.end_to_end

Start = Callable[..., WorkerProcess]


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url, worker_lost_seconds=5)


@pytest.fixture
def queue(redis: Redis, settings: Settings) -> JobQueue:
    return JobQueue(redis, settings, tasks=TASKS)


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def enter(whole: bool = False) -> WorkerProcess:
            return stack.enter_context(WorkerProcess(settings, tmp_path / "workers.log", whole=whole))

        yield enter


def _events(queue: JobQueue, job: Job) -> list[JobEvent]:
    """Return all events of an ended job."""

    async def collect() -> list[JobEvent]:
        return [event async for event in queue.events(job.id)]

    return asyncio.run(collect())


def horse_of(begun: Path, attempt: int = 1) -> int:
    """Wait for the start of that attempt; return the process id of the job process."""

    def lines() -> list[str]:
        found = begun.read_text().splitlines() if begun.exists() else []
        return found if len(found) >= attempt else []

    return int(eventually(lines)[attempt - 1].split()[1])


def test_a_job_succeeds_and_its_result_is_published(queue: JobQueue, start: Start, library: Library) -> None:
    start(whole=True)
    job = queue.enqueue(job_spec("succeeds"))
    done = has(queue, job, JobStatus.SUCCEEDED)
    assert done.result is not None
    assert done.result.id == "mdl_" + job.id.removeprefix("job_")
    assert done.result.resource is ResourceName.MODELS
    assert library.blobs.read(library.models.get(done.result.id).sha256) == b"the model of " + job.id.encode()
    assert done.attempts == 1
    said = ["started, attempt 1", "working", "succeeded"]
    assert eventually(lambda: [words for words in said if words in queue.log(done.id, 100).model_dump_json()] == said)
    assert done.provenance == Provenance(seed=7)
    assert done.progress is not None
    assert (done.progress.step, done.progress.fraction, done.progress.eta_seconds) == ("done", 1.0, 0.0)
    assert done.started_at is not None
    assert done.ended_at is not None
    assert done.created_at <= done.started_at <= done.ended_at
    assert queue.jobs_using(job.specification.uses[0]) == []


@pytest.mark.parametrize(
    ("does", "kind"),
    [
        ("raises", ProblemKind.INTERNAL_ERROR),
        ("refuses", ProblemKind.NOTHING_TO_QUANTIZE),
        ("hogs", ProblemKind.OUT_OF_MEMORY),
        ("kills-itself", ProblemKind.WORKER_LOST),
    ],
)
def test_a_job_fails_with_a_problem_document(
    queue: JobQueue, start: Start, library: Library, does: str, kind: ProblemKind
) -> None:
    worker = start()
    failed = has(queue, queue.enqueue(job_spec(does)), JobStatus.FAILED)
    assert failed.error is not None
    assert failed.error.type == kind.type
    assert "secret" not in failed.error.detail
    assert failed.attempts == (2 if does == "kills-itself" else 1)
    assert library.models.count() == 0
    log = queue.log(failed.id, 100)
    started = [line.attempt for line in log.items if "started, attempt" in line.message]
    assert started == list(range(1, failed.attempts + 1))
    assert log.items[-1].level == ("info" if kind.status < 500 else "error")
    assert "secret" not in log.model_dump_json()
    if does == "raises":
        assert "a secret of the house" in worker.log_text()
        report = queue.error_report(failed.id)
        assert report.frames[-1].startswith("tests.workers.long_tasks:")
        assert report.request["model_id"] == failed.specification.uses[0]
        assert report.versions["torch"]
    else:
        with pytest.raises(FaceterError, match="no error report"):
            queue.error_report(failed.id)


def test_a_job_out_of_time_fails(settings: Settings, redis: Redis, start: Start) -> None:
    short = settings.model_copy(update={"job_timeout_seconds": 1})
    queue = JobQueue(redis, short, tasks=TASKS)
    start()
    failed = has(queue, queue.enqueue(job_spec("hangs")), JobStatus.FAILED)
    assert failed.error is not None
    assert failed.error.type == ProblemKind.JOB_TIMEOUT.type


def test_a_job_whose_process_dies_is_restarted(queue: JobQueue, start: Start, library: Library, tmp_path: Path) -> None:
    start()
    job = queue.enqueue(job_spec("kills-itself-once", tmp_path / "begun"))
    assert has(queue, job, JobStatus.SUCCEEDED).attempts == 2
    assert library.models.count() == 1


def test_a_job_whose_worker_is_killed_is_restarted_by_another(
    queue: JobQueue, start: Start, library: Library, tmp_path: Path
) -> None:
    first = start(whole=True)
    job = queue.enqueue(job_spec("sleeps-once", tmp_path / "begun"))
    horse = horse_of(tmp_path / "begun")
    first.kill()
    eventually(lambda: not alive(horse))
    start()
    assert has(queue, job, JobStatus.SUCCEEDED).attempts == 2
    assert library.models.count() == 1


def steps_of(queue: JobQueue, job: Job) -> int:
    """Return the number of steps that a tuning job reports."""
    progress = queue.get(job.id).progress
    return 0 if progress is None or progress.training is None else progress.training.step


def is_resting(queue: JobQueue, job: Job) -> bool:
    """Return whether a tuning job waits for its end."""
    progress = queue.get(job.id).progress
    return progress is not None and progress.step == "resting"


def blobs_in(settings: Settings) -> set[str]:
    folder = Path(settings.resolved_blob_url)
    return {path.name for path in folder.rglob("*") if path.is_file()}


def made_from(library: Library, done: Job) -> set[str]:
    """Return the files of a job's result."""
    assert done.result is not None
    records = library.models.get(done.result.id or ""), library.datasets.get(done.result.by_products[0].id or "")
    return {sha256 for record in records for sha256 in files_of(record)}


def test_a_killed_workers_job_resumes_from_its_checkpoint(
    queue: JobQueue, start: Start, library: Library, settings: Settings, tmp_path: Path
) -> None:
    first = start()
    job = queue.enqueue(job_spec("tunes", tmp_path / "begun", 30, 10))
    horse = horse_of(tmp_path / "begun")
    eventually(lambda: is_resting(queue, job))
    first.kill()
    eventually(lambda: not alive(horse))
    assert library.blobs.read(job_checkpoints.find(queue._redis, job.id) or "") == b"10"
    start()
    done = has(queue, job, JobStatus.SUCCEEDED)
    assert done.attempts == 2
    assert done.result is not None
    events = [event.data["step"] for event in _events(queue, job) if event.data and event.event == "progress"]
    assert "from step 10" in events
    assert library.blobs.read(library.models.get(done.result.id or "").sha256) == b"the model after step 30"
    eventually(lambda: blobs_in(settings) == made_from(library, done))


def test_a_killed_workers_canceled_job_leaves_no_checkpoint(
    queue: JobQueue, start: Start, library: Library, settings: Settings, tmp_path: Path
) -> None:
    worker = start()
    job = queue.enqueue(job_spec("tunes", tmp_path / "begun", 30, 3))
    horse = horse_of(tmp_path / "begun")
    eventually(lambda: is_resting(queue, job))
    worker.kill()
    eventually(lambda: not alive(horse))
    assert blobs_in(settings)
    queue.cancel(job.id)
    start()
    eventually(lambda: blobs_in(settings) == set())
    assert library.models.count() == 0


def test_a_running_job_asked_to_finish_ends_early_with_its_best_result(
    queue: JobQueue, start: Start, library: Library, settings: Settings, tmp_path: Path
) -> None:
    start()
    job = queue.enqueue(job_spec("tunes", tmp_path / "begun", 100_000))
    eventually(lambda: steps_of(queue, job) >= 5)
    ending_job = queue.request_end(job.id)
    assert (ending_job.status, ending_job.ending) == (JobStatus.RUNNING, True)
    done = has(queue, job, JobStatus.SUCCEEDED)
    assert done.ending
    assert done.result is not None
    made = library.blobs.read(library.models.get(done.result.id or "").sha256).decode()
    assert 5 <= int(made.removeprefix("the model after step ")) < 100_000
    eventually(lambda: blobs_in(settings) == made_from(library, done))


def test_a_job_asked_to_finish_whose_worker_dies_is_finished_by_the_next(
    queue: JobQueue, start: Start, library: Library, tmp_path: Path
) -> None:
    first = start()
    job = queue.enqueue(job_spec("tunes", tmp_path / "begun", 100_000))
    eventually(lambda: steps_of(queue, job) >= 5)
    assert first.stop() == 0
    ending_job = queue.request_end(job.id)
    assert (ending_job.status, ending_job.ending) == (JobStatus.QUEUED, True)
    kept = int(library.blobs.read(job_checkpoints.find(queue._redis, job.id) or ""))
    start()
    done = has(queue, job, JobStatus.SUCCEEDED)
    assert done.result is not None
    made = library.models.get(done.result.id or "")
    assert library.blobs.read(made.sha256) == f"the model after step {kept}".encode()


def test_a_job_whose_last_worker_dies_fails_without_other_workers(
    redis: Redis, settings: Settings, start: Start, tmp_path: Path
) -> None:
    queue = JobQueue(redis, settings.model_copy(update={"job_attempts": 1}), tasks=TASKS)
    job = queue.enqueue(job_spec("begins-and-sleeps", tmp_path / "begun"))
    worker = start()
    horse_of(tmp_path / "begun")
    worker.kill()
    assert eventually(queue.reap, every=0.5) == [job.id]
    failed = queue.get(job.id)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert failed.error.type == ProblemKind.WORKER_LOST.type


def test_a_stopping_worker_returns_its_job_to_the_queue(
    queue: JobQueue, start: Start, library: Library, tmp_path: Path
) -> None:
    first = start()
    job = queue.enqueue(job_spec("sleeps-once", tmp_path / "begun"))
    horse = horse_of(tmp_path / "begun")
    assert first.stop() == 0
    assert queue.get(job.id).status is JobStatus.QUEUED
    assert not alive(horse)
    assert f"{job.id} handed back" in first.log_text()
    start()
    assert has(queue, job, JobStatus.SUCCEEDED).attempts == 2


def test_an_idle_worker_stops_immediately_and_unregisters(queue: JobQueue, start: Start) -> None:
    worker = start()
    eventually(lambda: queue.statistics().workers == 1)
    assert worker.stop() == 0
    assert queue.statistics().workers == 0


def test_a_running_job_is_canceled(queue: JobQueue, start: Start, library: Library, tmp_path: Path) -> None:
    worker = start()
    job = queue.enqueue(job_spec("begins-and-sleeps", tmp_path / "begun"))
    horse = horse_of(tmp_path / "begun")
    assert queue.cancel(job.id).status is JobStatus.CANCELED
    eventually(lambda: not alive(horse), 10)
    after = queue.enqueue(job_spec("succeeds"))
    has(queue, after, JobStatus.SUCCEEDED)
    assert queue.get(job.id).status is JobStatus.CANCELED
    assert library.models.count() == 1
    assert worker.process.poll() is None


def test_a_running_job_of_a_dead_worker_is_canceled(queue: JobQueue, start: Start, tmp_path: Path) -> None:
    worker = start()
    job = queue.enqueue(job_spec("begins-and-sleeps", tmp_path / "begun"))
    horse_of(tmp_path / "begun")
    worker.kill()
    assert queue.cancel(job.id).status is JobStatus.CANCELED
    assert queue.statistics().running == 0
    start()
    has(queue, queue.enqueue(job_spec("succeeds")), JobStatus.SUCCEEDED)
    assert queue.get(job.id).status is JobStatus.CANCELED


def test_canceling_while_a_job_ends_leaves_it_canceled_or_succeeded(
    queue: JobQueue, start: Start, library: Library
) -> None:
    start()
    has(queue, queue.enqueue(job_spec("succeeds")), JobStatus.SUCCEEDED)
    outcomes = set()
    for wait in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.6):
        job = queue.enqueue(job_spec("succeeds"))
        time.sleep(wait)
        expected = JobStatus.CANCELED if try_cancel(queue, job.id) else JobStatus.SUCCEEDED
        outcomes.add(expected)
        time.sleep(0.1)
        status = queue.get(job.id).status
        made = library.models.find("mdl_" + job.id.removeprefix("job_"))
        assert (status, made is not None) == (expected, expected is JobStatus.SUCCEEDED)
    assert JobStatus.CANCELED in outcomes


def test_a_worker_without_the_lease_cannot_write_to_the_job(
    queue: JobQueue, start: Start, library: Library, tmp_path: Path
) -> None:
    frozen = start()
    job = queue.enqueue(job_spec("sleeps-once", tmp_path / "begun"))
    horse = horse_of(tmp_path / "begun")
    os.kill(frozen.process.pid, signal.SIGSTOP)
    os.kill(horse, signal.SIGSTOP)
    start()
    assert has(queue, job, JobStatus.SUCCEEDED).attempts == 2
    os.kill(horse, signal.SIGCONT)
    os.kill(frozen.process.pid, signal.SIGCONT)
    eventually(lambda: not alive(horse))
    assert queue.get(job.id).status is JobStatus.SUCCEEDED
    assert library.models.count() == 1


def test_the_api_names_the_job_function_without_importing_it(queue: JobQueue) -> None:
    specification: QuantizationJob = job_spec("succeeds")
    job = JobQueue(queue._redis, queue._settings, tasks="no.such.module").enqueue(specification)
    assert job.status is JobStatus.QUEUED

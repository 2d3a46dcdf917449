"""A training in two processes of a real worker: one is killed, a training is ended early, another canceled."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.jobs import Job, JobStatus, QuantizationJob, TranslationJob
from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.contracts.translator_records import TrainingRecord
from faceter.contracts.translators import TranslatorTraining
from faceter.graphs.check import load_model
from faceter.store import job_checkpoints
from faceter.store.library import Library
from tests.app.uploads import METADATA
from tests.engines import graphs
from tests.workers.processes import WorkerProcess, alive, eventually, has
from tests.workers.stored import stored_model

pytestmark = pytest.mark.end_to_end

SHARED = "training goes on in 2 processes, each with its share of every batch"


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        redis_url=redis_url,
        checkpoint_seconds=1.0,
        training_processes=2,
    )


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[WorkerProcess]:
    with WorkerProcess(settings, tmp_path / "worker.log", whole=True) as worker:
        yield worker


@pytest.fixture
def dataset(library: Library, shared_data: Path) -> Dataset:
    with (shared_data / "dusk2day" / "test.zip").open("rb") as file:
        blob = library.store_blob(file)
    return library.add(
        Dataset(
            id=new_id("dts"),
            name="dusk2day",
            kind=DatasetKind.DOMAINS,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            samples=100,
        )
    )


def job_of(dataset: Dataset, epochs: int) -> TranslationJob:
    request = {
        "method": "cyclegan",
        "dataset_id": dataset.id,
        "image_size": 16,
        "base_channels": 4,
        "generator": "resnet",
        "residual_blocks": 1,
        "batch_size": 4,
        "epochs": epochs,
    }
    return TranslationJob(request=TranslatorTraining.model_validate(request))


def tuning_of(library: Library, method: str) -> QuantizationJob:
    graph = load_model(graphs.classifier(), max_bytes=2**20)
    metadata = ModelMetadata.model_validate(METADATA)
    model = stored_model(library, graph, metadata, name="classifier", opset=20)
    request = {"method": method, "weight_bits": 4, "activation_bits": 4, "max_steps": 6}
    return QuantizationJob(model_id=model.id, request=QuantizationRequest.model_validate(request))


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has forked and that are alive; none if it has ended."""
    with suppress(FileNotFoundError):
        return [*filter(alive, map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))]
    return []


def replicas_of(worker: WorkerProcess) -> tuple[int, int]:
    """Wait for the process of the job and its replica; return their ids."""

    def look() -> list[tuple[int, int]]:
        return [(leader, replica) for leader in children_of(worker.process.pid) for replica in children_of(leader)]

    return eventually(look, 60)[0]


def training_by(library: Library, job: Job) -> TrainingRecord:
    training = library.translators.get("trl_" + job.id.removeprefix("job_")).training
    assert training is not None
    return training


def trains(queue: JobQueue, job: Job) -> bool:
    progress = queue.get(job.id).progress
    return progress is not None and progress.training is not None and progress.training.step > 5


def test_a_job_whose_replica_is_killed_is_taken_up_again(
    queue: JobQueue, redis: Redis, worker: WorkerProcess, library: Library, dataset: Dataset
) -> None:
    job = queue.enqueue(job_of(dataset, 8))
    leader, replica = replicas_of(worker)
    eventually(lambda: job_checkpoints.find(redis, job.id), 60)
    os.kill(replica, signal.SIGKILL)
    eventually(lambda: not alive(leader))
    done = has(queue, job, JobStatus.SUCCEEDED, 120)
    assert done.attempts == 2
    assert library.translators.count() == 1
    training = training_by(library, done)
    assert (training.ended_by, training.resumed, training.steps) == ("budget", 1, 50)
    said = [line.message for line in queue.log(job.id, 100).items]
    assert said.count(SHARED) == 2
    assert any("SIGKILL" in line for line in said)


def test_a_training_in_two_processes_is_ended_early_and_canceled(
    queue: JobQueue, worker: WorkerProcess, library: Library, dataset: Dataset
) -> None:
    job = queue.enqueue(job_of(dataset, 100_000))
    leader, replica = replicas_of(worker)
    eventually(lambda: trains(queue, job), 60)
    queue.request_end(job.id)
    done = has(queue, job, JobStatus.SUCCEEDED, 60)
    assert training_by(library, done).ended_by == "request"
    eventually(lambda: not alive(leader) and not alive(replica))

    job = queue.enqueue(job_of(dataset, 100_000))
    leader, replica = replicas_of(worker)
    eventually(lambda: trains(queue, job), 60)
    queue.cancel(job.id)
    eventually(lambda: not alive(leader) and not alive(replica))
    assert library.translators.count() == 1


@pytest.mark.parametrize(("method", "shared"), [("auto", 1), ("zaq", 0)])
def test_a_network_is_tuned_in_two_processes_where_the_method_can(
    queue: JobQueue, worker: WorkerProcess, library: Library, method: str, shared: int
) -> None:
    done = has(queue, queue.enqueue(tuning_of(library, method)), JobStatus.SUCCEEDED, 120)
    assert done.attempts == 1
    assert [line.message for line in queue.log(done.id, 100).items].count(SHARED) == shared
    eventually(lambda: not children_of(worker.process.pid))

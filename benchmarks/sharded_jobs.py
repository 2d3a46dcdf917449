"""Throughput of two workers on one divided job, against one worker on the same job undivided.

Each worker runs on one core and one thread. The job is whole: reading, planning, merging, drawing and storing
included. The sets of features are random; the images are CamVid, repeated.

    python -m benchmarks.sharded_jobs evaluation --samples 20000
    python -m benchmarks.sharded_jobs explanation --repeat 6
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from app.services.jobs.queue import JobQueue
from benchmarks.explained import LATE, MIDDLE, fastestdet_on_camvid
from faceter.contracts.base import new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.evaluations import EvaluationRequest
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.jobs import EvaluationJob, ExplanationJob, Job, JobSpecification, JobStatus
from faceter.contracts.settings import Settings
from faceter.processes.embedded_store import EmbeddedValkey
from faceter.store.connection import connect
from faceter.store.library import Library
from faceter.store.schema import migrate


def stored(library: Library, content: bytes, kind: DatasetKind, samples: int) -> Dataset:
    """Store a dataset."""
    blob = library.store_blob(content)
    return library.add(
        Dataset(
            id=new_id("dts"),
            name=kind.value,
            kind=kind,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            samples=samples,
        )
    )


def evaluation(library: Library, samples: int, width: int) -> EvaluationJob:
    """Return an evaluation of two random sets of features, with the usual metrics."""
    ids = []
    for seed in range(2):
        file = io.BytesIO()
        np.savez(file, features=np.random.default_rng(seed).standard_normal((samples, width), np.float32))
        ids.append(stored(library, file.getvalue(), DatasetKind.FEATURES, samples).id)
    return EvaluationJob(request=EvaluationRequest(reference_id=ids[0], generated_id=ids[1]))


def explanation(library: Library, data: Path, repeat: int) -> tuple[ExplanationJob, int]:
    """Return an explanation of two layers of FastestDet by repeated street scenes, and the number of images."""
    subject = fastestdet_on_camvid(data)
    model = subject.model.model_copy(update={"sha256": library.store_blob(subject.content).sha256})
    library.add(model)
    file = io.BytesIO()
    with zipfile.ZipFile(subject.data) as source, zipfile.ZipFile(file, "w") as target:
        images = [name for name in source.namelist() if name.startswith("images/")]
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".csv"):
                head, *rows = content.decode().splitlines()
                target.writestr(name, "\n".join([head, *(f"{copy}-{row}" for copy in range(repeat) for row in rows)]))
            elif "/" in name:
                folder, _, base = name.rpartition("/")
                for copy in range(repeat):
                    target.writestr(f"{folder}/{copy}-{base}", content)
            else:
                target.writestr(name, content)
    count = repeat * len(images)
    streets = stored(library, file.getvalue(), DatasetKind.CONCEPTS, count)
    return ExplanationJob(
        model_id=model.id, request=ExplanationRequest(dataset_id=streets.id, layer=[MIDDLE, LATE])
    ), count


def seconds(settings: Settings, specification: JobSpecification, workers: int) -> tuple[float, float]:
    """Run a job on some workers, each on a core of its own.

    Returns:
        Seconds from its start to its end, and processor seconds of the workers, their start included.
    """
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    cores = sorted(os.sched_getaffinity(0))[:workers]
    environment = {**os.environ, **settings.environment(), "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack, connect(settings) as redis:
        for core in cores:
            process = subprocess.Popen(
                ["taskset", "-c", str(core), sys.executable, "-m", "faceter", "worker"], env=environment
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        queue = JobQueue(redis, settings)
        while queue.statistics().workers < workers:
            time.sleep(0.2)
        job = ended(queue, queue.enqueue(specification).id)
        assert job.started_at is not None
        assert job.ended_at is not None
        took = (job.ended_at - job.started_at).total_seconds()
    return took, sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before


def ended(queue: JobQueue, job_id: str) -> Job:
    """Wait for a job to succeed."""
    while not (job := queue.get(job_id)).status.ended:
        time.sleep(0.2)
    assert job.status is JobStatus.SUCCEEDED, job.error
    return job


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["evaluation", "explanation"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=6)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fct-") as name, ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(EmbeddedValkey(folder / "valkey"))
        whole = Settings(_env_file=None, data_dir=folder / "data", redis_url=server.url, worker_lost_seconds=5)
        library = stack.enter_context(Library(whole))
        migrate(library.redis)
        specification: JobSpecification
        if given.kind == "evaluation":
            specification, count = evaluation(library, given.samples, given.width), given.samples
            size = {"shard_pairs": given.samples**2 // 4}
        else:
            specification, count = explanation(library, given.data, given.repeat)
            size = {"shard_samples": -(-count // 4)}
        one, one_busy = seconds(whole, specification, 1)
        time.sleep(whole.worker_lost_seconds + 1)
        two, two_busy = seconds(whole.model_copy(update=size), specification, 2)
        print(
            "| job | samples | one worker, s | two workers, s | ratio | processor time, s |\n|---|---|---|---|---|---|"
        )
        busy = f"{one_busy:.0f} and {two_busy:.0f}"
        print(f"| {given.kind} | {count:,} | {one:.1f} | {two:.1f} | {one / two:.2f} | {busy} |")


if __name__ == "__main__":
    main()

"""Models and datasets in a library, and jobs that a worker has taken."""

from typing import Any

import onnx
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.base import new_id, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.jobs import JobSpecification
from faceter.contracts.models import Model, ModelMetadata
from faceter.contracts.settings import Settings
from faceter.graphs.describe import input_specs, output_specs
from faceter.store import job_records, job_steps
from faceter.store.library import Library
from workers.jobs.context import JobContext


def stored_model(
    library: Library, graph: onnx.ModelProto, metadata: ModelMetadata, *, name: str = "model", **fields: Any
) -> Model:
    """Store a model; ``fields`` are further ones of its record."""
    blob = library.store_blob(graph.SerializeToString())
    values: dict[str, Any] = {"opset": 17, "parameters": 1, **fields}
    return library.add(
        Model(
            id=new_id("mdl"),
            name=name,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            metadata=metadata,
            inputs=input_specs(graph),
            outputs=output_specs(graph),
            **values,
        )
    )


def stored_dataset(
    library: Library, content: bytes, kind: DatasetKind, *, name: str = "data", samples: int = 1, **fields: Any
) -> Dataset:
    """Store a dataset; ``fields`` are further ones of its record."""
    blob = library.store_blob(content)
    return library.add(
        Dataset(
            id=new_id("dts"),
            name=name,
            kind=kind,
            created_at=utc_now(),
            sha256=blob.sha256,
            bytes=blob.bytes,
            samples=samples,
            **fields,
        )
    )


def taken_job(redis: Redis, settings: Settings, library: Library, specification: JobSpecification) -> JobContext:
    """Queue a job and take it as a worker does."""
    queued = JobQueue(redis, settings).enqueue(specification)
    execution = job_steps.claim(redis, job_records.fetch(redis, queued.id), "worker", 60)
    assert execution is not None
    return JobContext(settings, library, redis, execution)

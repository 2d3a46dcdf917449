"""State of the service, for `GET /v1/system`."""

import importlib.metadata
import platform
import socket
from typing import Final

from app.services.jobs.queue import JobQueue
from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.contracts.system import ApiHost, QueueState, StorageState, SystemState, WorkerState
from faceter.host import processor_count, processor_name
from faceter.resources import RESOURCES
from faceter.store.connection import store_errors
from faceter.store.library import Library

_PACKAGES: Final = ("faceter", "onnxruntime", "openvino", "onnx", "numpy", "pydantic", "fastapi")


def system_state(library: Library, queue: JobQueue, settings: Settings) -> SystemState:
    """Return the state of the service; blocks.

    Raises:
        FaceterError: `STORE_UNAVAILABLE`.
    """
    statistics = queue.statistics()
    return SystemState(
        api=ApiHost(
            host=socket.gethostname(),
            processor=f"{processor_name()}, {processor_count()} cores",
            versions={"python": platform.python_version(), **_installed()},
        ),
        workers=[_of_tenant(worker, queue) for worker in queue.workers()],
        queue=QueueState(
            waiting=statistics.queued,
            running=statistics.running,
            oldest_waiting_seconds=statistics.oldest_queued_seconds,
            waiting_by_queue={name: waiting.count for name, waiting in statistics.queues.items()},
            limit=settings.max_queued_jobs,
        ),
        storage=storage_state(library),
    )


def _of_tenant(worker: WorkerState, queue: JobQueue) -> WorkerState:
    """Return a worker without the id of its job if that is another tenant's."""
    if worker.job_id is None:
        return worker
    try:
        queue.get(worker.job_id)
    except FaceterError:
        return worker.model_copy(update={"job_id": None})
    return worker


def _installed() -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def storage_state(library: Library) -> StorageState:
    """Return how much is stored, and how much more can be.

    Raises:
        FaceterError: `STORE_UNAVAILABLE`.
    """
    with store_errors():
        memory = library.redis.info("memory")
    space = library.blobs.space()
    return StorageState(
        records={resource.name: library[resource].count() for resource in RESOURCES},
        redis_bytes=memory["used_memory"],
        free_bytes=None if space is None else space.free,
        total_bytes=None if space is None else space.total,
    )

"""State of the service: versions, workers with their devices, queue, storage."""

from pydantic import Field

from faceter.contracts.base import Contract, Timestamp
from faceter.contracts.queue_names import QueueName
from faceter.contracts.references import ResourceName


class ApiHost(Contract):
    """The host of the API process that answered."""

    host: str = Field(examples=["api-1"])
    """Name of the host."""
    processor: str = Field(examples=["Intel(R) Xeon(R) Processor, 2 cores"])
    """Processor, and how many cores the process may use."""
    versions: dict[str, str] = Field(examples=[{"faceter": "0.1.0", "python": "3.12.4", "onnxruntime": "1.23.2"}])
    """Versions of Python, Faceter and the packages that serve predictions."""


class WorkerState(Contract):
    """A worker that is alive."""

    name: str = Field(examples=["gpu-1-4711-w_4x8k2m9q0v7r3t6w1y5z"])
    """Unique name."""
    host: str = Field(examples=["gpu-1"])
    """Name of its host."""
    process: int = Field(examples=[4711])
    """Its process id on that host."""
    device: str | None = Field(default=None, examples=["cuda: NVIDIA H100"])
    """Device of its jobs; null for a worker that does not say it."""
    processor: str | None = Field(default=None, examples=["Intel(R) Xeon(R) Processor, 2 cores"])
    """Processor of its host, and how many cores it may use."""
    memory_bytes: int | None = Field(default=None, examples=[25_000_000_000])
    """Memory of its host, bytes; it takes no job that is known to need more."""
    queues: list[QueueName] = Field(default_factory=list, examples=[["quick", "cpu", "gpu"]])
    """Queues that it takes jobs from."""
    versions: dict[str, str] = Field(default_factory=dict, examples=[{"faceter": "0.1.0", "torch": "2.13.0"}])
    """Versions of Python, Faceter and the packages that results depend on."""
    job_id: str | None = Field(default=None, examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the job that it runs; null while it waits for one."""
    started_at: Timestamp
    """When it started."""
    seen_at: Timestamp
    """Its last sign of life."""


class QueueState(Contract):
    """The job queues."""

    waiting: int = Field(examples=[3])
    """Number of waiting jobs."""
    running: int = Field(examples=[1])
    """Number of running jobs."""
    oldest_waiting_seconds: float = Field(examples=[12.5])
    """Waiting time of the next job; 0 if none is waiting."""
    waiting_by_queue: dict[QueueName, int] = Field(examples=[{"quick": 1, "cpu": 0, "gpu": 2}])
    """Number of waiting jobs in each queue."""
    limit: int = Field(examples=[1000])
    """How many jobs may wait."""


class StorageState(Contract):
    """Storage of records and files."""

    records: dict[ResourceName, int] = Field(examples=[{"models": 12, "datasets": 4}])
    """Number of records of each resource."""
    redis_bytes: int = Field(examples=[8_400_000])
    """Memory that Redis uses, bytes."""
    free_bytes: int | None = Field(default=None, examples=[52_000_000_000])
    """Free space for files, bytes; null for a bucket."""
    total_bytes: int | None = Field(default=None, examples=[250_000_000_000])
    """Size of the file system of the files, bytes; null for a bucket."""


class SystemState(Contract):
    """State of the service."""

    api: ApiHost
    """The API process that answered."""
    workers: list[WorkerState]
    """Live workers, in order of their names."""
    queue: QueueState
    """Numbers of jobs that run and that wait."""
    storage: StorageState
    """Records and files."""

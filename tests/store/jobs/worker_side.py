"""Steps of a worker on the queue."""

from redis import Redis
from rq.executions import Execution

from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, Progress
from faceter.contracts.references import ResourceName
from faceter.store import job_queues, job_records, job_steps

RESULT = JobResult(resource=ResourceName.MODELS, id="mdl_made")
LOST = FaceterError(ProblemKind.WORKER_LOST, "gone")


def claim(redis: Redis, job_id: str, lease: float = 60, worker: str = "worker") -> Execution | None:
    """Take the job off the queue as a worker does, by way of the intermediate queue."""
    job_queues.take(redis, job_queues.Capabilities())
    return job_steps.claim(redis, job_records.fetch(redis, job_id), worker, lease)


def claimed(redis: Redis, job_id: str, lease: float = 60) -> Execution:
    """Claim a job that can be claimed."""
    execution = claim(redis, job_id, lease)
    assert execution is not None
    return execution


def progress(fraction: float) -> Progress:
    """Return the progress a worker reports."""
    return Progress(step="working", fraction=fraction, updated_at=utc_now())

"""What a worker does to the queue, played step by step."""

from redis import Redis
from rq.executions import Execution

from faceter.contracts.base import utc_now
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobResult, Progress
from faceter.store import job_records, job_steps

RESULT = JobResult(model_id="mdl_made", url="/v1/models/mdl_made")
LOST = FaceterError(ProblemKind.WORKER_LOST, "gone")


def claim(redis: Redis, job_id: str, lease: float = 60, worker: str = "worker") -> Execution | None:
    """Take the job off the queue as a worker does, by way of the list in between."""
    queue = job_records.rq_queue(redis)
    redis.lmove(queue.key, queue.intermediate_queue_key)
    return job_steps.claim(redis, job_records.fetch(redis, job_id), worker, lease)


def claimed(redis: Redis, job_id: str, lease: float = 60) -> Execution:
    """Take a job off the queue that is there to be taken."""
    execution = claim(redis, job_id, lease)
    assert execution is not None
    return execution


def progress(fraction: float) -> Progress:
    """Return the progress a worker reports."""
    return Progress(step="working", fraction=fraction, updated_at=utc_now())

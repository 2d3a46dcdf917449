"""One attempt at a job, or at a shard of one, in the process of its own that a worker starts."""

from __future__ import annotations

import logging
import traceback
from contextlib import AbstractContextManager

from redis import Redis
from rq.executions import Execution
from rq.job import Job as RQJob

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.jobs import JobKind, JobResult
from faceter.contracts.settings import Settings
from faceter.store import job_shards, job_steps
from faceter.store.connection import UNREACHABLE, retry_forever
from faceter.store.library import Library
from faceter.store.shard_ids import job_of
from workers.jobs import context as job_context
from workers.jobs import failures
from workers.jobs.context import JobContext
from workers.jobs.division import JobDividedError, ShardDoneError
from workers.jobs.error_reports import error_report
from workers.jobs.stored_division import JobShards, ShardContext, StoredDivision
from workers.training.replicas import ALONE, ReplicaLostError, Replicas

_log = logging.getLogger("faceter.worker")


def run_attempt(
    settings: Settings, redis: Redis, job: RQJob, execution: Execution, time_limit: AbstractContextManager[object]
) -> str | None:
    """Run a job or a shard, and record how it ends.

    Args:
        settings: Limits and locations.
        redis: The store.
        job: The job or the shard.
        execution: The lease on it.
        time_limit: Raises an exception in its block when the time is over.

    Returns:
        Kind of problem that ended it; None if there was none.

    Raises:
        LeaseLostError: If it was canceled or given to another worker.
    """
    replicas = _replicas_of(settings, redis, job, execution)
    with Library(settings) as library:
        retry_forever(library.redis)
        context = _context_of(settings, library, redis, job, execution)
        context.replicas = replicas
        job_context.enter(context)
        try:
            with time_limit:
                end = _perform(job)
            outcome = _complete(context, end)
        except job_steps.LeaseLostError:
            _discard_files(context)
            raise
        except UNREACHABLE:
            raise
        except ReplicaLostError:
            replicas.end_with_lost()
            raise
        except Exception as exception:
            error = failures.error_of(exception, settings, JobKind(job.args[0]["kind"]))
            if error.kind.status >= 500:
                _log.exception("job %s failed", job.id)
            else:
                _log.info("job %s failed: %s", job.id, error)
            trace = "".join(traceback.format_exception(exception))
            internal = error.kind is ProblemKind.INTERNAL_ERROR
            report = error_report(exception, job_of(job.id), job.args[0], context.step) if internal else None
            job_steps.fail(redis, execution, error.problem(), trace, report)
            _discard_files(context)
            return error.kind.value.slug
        else:
            _log.info("job %s %s", job.id, outcome)
            _discard_files(context)
            return None


def _replicas_of(settings: Settings, redis: Redis, job: RQJob, execution: Execution) -> Replicas:
    """Return the replicas of a job that trains, started."""
    if settings.training_processes == 1 or job_shards.of_rq_job(job) is not None:
        return ALONE
    from workers.jobs.replica_processes import started_replicas  # loads torch

    return started_replicas(settings, redis, job, execution) or ALONE


def _context_of(settings: Settings, library: Library, redis: Redis, job: RQJob, execution: Execution) -> JobContext:
    """Return the context of a job or of a shard."""
    shard = job_shards.of_rq_job(job)
    if shard is not None:
        return ShardContext(settings, library, redis, execution, shard)
    sizes = {JobKind.EVALUATION: settings.shard_pairs, JobKind.EXPLANATION: settings.shard_samples}
    division = StoredDivision(
        JobShards(library, redis, job.id), execution, settings, sizes.get(JobKind(job.args[0]["kind"]))
    )
    done = (job.meta.get("progress") or {}).get("fraction", 0.0)
    return JobContext(settings, library, redis, execution, division=division, done=done)


def _perform(job: RQJob) -> JobResult | JobDividedError | ShardDoneError:
    """Run a job or a shard, and return how it ends."""
    try:
        return JobResult.model_validate(job.perform())
    except (JobDividedError, ShardDoneError) as end:
        return end


def _complete(context: JobContext, end: JobResult | JobDividedError | ShardDoneError) -> str:
    """Record the end of a run of a job, or of a shard.

    Returns:
        What has become of it, for the log.

    Raises:
        LeaseLostError: If it was canceled or given to another worker.
    """
    match end:
        case JobDividedError():
            assert isinstance(context.division, StoredDivision)
            context.division.divide(end)
            return f"is divided into {len(end.shards)} shards"
        case ShardDoneError():
            assert isinstance(context, ShardContext)
            context.finish(end.state)
            return "is done"
        case _:
            context.succeed(end)
            return "succeeded"


def _discard_files(context: JobContext) -> None:
    """Delete the files of an ended job that no record has."""
    try:
        context.discard()
    except FaceterError as error:
        _log.warning("the files of job %s are left to the next sweep: %s", context.job_id, error)

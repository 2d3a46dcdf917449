"""The worker: takes jobs off the queue and runs each in a child process."""

import contextvars
import importlib
import logging
import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Final, NoReturn, TypeVar

from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job as RQJob
from rq.serializers import JSONSerializer
from rq.timeouts import JobTimeoutException
from rq.worker import WorkerStatus

from faceter.contracts.base import new_id
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.queue_names import QueueName
from faceter.contracts.settings import Settings
from faceter.processes import parent_death
from faceter.processes.readiness import announce_ready
from faceter.store import blob_references, job_queues, job_reaper, job_steps
from faceter.store.connection import UNREACHABLE, connect, retry_forever
from faceter.store.job_queues import rq_queue, tenant_of
from faceter.store.job_records import active_ids, fetch
from faceter.store.library import Library
from faceter.store.shard_ids import job_of
from faceter.store.tenants import acting_for
from faceter.tracing.configuration import open_tracer
from workers.jobs import failures
from workers.jobs.attempt_span import attempt_span, end_attempt
from workers.jobs.attempts import run_attempt
from workers.jobs.job_log import JobLogHandler, attempt_log
from workers.jobs.scratch import drop_job_folders

_log = logging.getLogger("faceter.worker")

T = TypeVar("T")

_DEQUEUE_SECONDS: Final = 1
_LOOK_SECONDS: Final = 5.0
_PIPELINES: Final = (
    "workers.quantization.pipeline",
    "workers.evaluation.pipeline",
    "workers.explanation.pipeline",
    "workers.explanation.analyses.pipeline",
    "workers.translation.pipeline",
)
_WATCH_SECONDS: Final = 0.1
_RENEW_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 3600.0
_STOP_GRACE_SECONDS: Final = 10.0
_TIMEOUT_GRACE_SECONDS: Final = 30.0
_OOM_SCORE: Final = "500"
_LEASE_LOST: Final = "lease-lost"


def run_worker(settings: Settings) -> None:
    """Work until SIGTERM or SIGINT, which hand the running job back to the queue and end this within seconds.

    While Redis is away it waits, and goes on when Redis is back. The main thread of the process must call this.

    """
    # Read when torch loads. Waiting threads spin for this many turns and then sleep: without spinning, two threads are
    # no faster than one; with it they lose more beside a busy process (decision 0010).
    os.environ.setdefault("GOMP_SPINCOUNT", "100000")
    # Imported once here, so that children do not import it again; none of it may run before the fork.
    importlib.import_module("torch")
    importlib.import_module("workers.tasks")
    JobWorker(settings, importlib.import_module("workers.jobs.provenance").worker_description()).run()


class JobWorker(Worker):
    """An RQ worker whose jobs are leased: see `faceter.store.job_steps`.

    The parent process holds the lease and renews it every second; the child runs the job and records its end. When the
    lease is lost (the job was canceled, or the worker was considered dead) the parent kills the child; when the parent
    dies the child is killed with it; when the child dies the job returns to the queue, or fails after its last attempt.

    Args:
        settings: Limits and locations.
        description: What `GET /v1/system` says of it: `worker_description`.
    """

    def __init__(self, settings: Settings, description: Mapping[str, str] | None = None) -> None:
        self.settings = settings
        super().__init__(
            [rq_queue(connect(settings))],
            name=f"{socket.gethostname()}-{os.getpid()}-{new_id('w')}",
            serializer=JSONSerializer,
            worker_ttl=settings.worker_lost_seconds,
            prepare_for_work=False,
        )
        self.hostname = socket.gethostname()
        self.pid = os.getpid()
        self._reaped_at = -float(settings.worker_lost_seconds)
        self._swept_at = time.monotonic()
        self._kills_before = 0
        self._tracer = open_tracer(one_by_one=True)
        self._description = {"takes": settings.worker_queues, **(description or {})}
        self._looked_at = -_LOOK_SECONDS
        self._gpu_elsewhere = False
        self._to_load = list(reversed(_PIPELINES))

    @property
    def dequeue_timeout(self) -> int:
        """Seconds to wait for a job before other duties."""
        return _DEQUEUE_SECONDS

    @property
    def connection_timeout(self) -> int:
        """Seconds that one command may take."""
        return _DEQUEUE_SECONDS + 4

    def run(self) -> None:
        """Take jobs one after another until a signal stops it."""
        signal.signal(signal.SIGINT, self.request_stop)
        signal.signal(signal.SIGTERM, self.request_stop)
        logging.getLogger().addHandler(JobLogHandler(self.connection, self.settings.job_retention_seconds))
        self._retry_until_reachable(self.heartbeat)
        _log.info("worker %s takes jobs", self.name)
        announce_ready()
        while not self._stop_requested:
            try:
                self._maintain()
                self._dequeue_and_execute()
            except UNREACHABLE as error:
                self._wait_for_store(error)
        with suppress(*UNREACHABLE):
            self.register_death()  # type: ignore[no-untyped-call]
        self.connection.close()
        _log.info("worker %s stopped", self.name)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Request the worker to stop; the loops check it within a second."""
        self._stop_requested = True

    def _dequeue_and_execute(self) -> None:
        capabilities = self._capabilities()
        job_id = job_queues.take(self.connection, capabilities)
        if job_id is None:
            if self._to_load:
                # Each job is then forked with it. One at a time, since a job may be queued meanwhile.
                importlib.import_module(self._to_load.pop())
            else:
                job_queues.wait(self.connection, capabilities, _DEQUEUE_SECONDS)
            return
        queue = rq_queue(self.connection)
        try:
            job = fetch(self.connection, job_id)
        except FaceterError:
            _log.warning("job %s is gone", job_id)
            self.connection.lrem(queue.intermediate_queue_key, 0, job_id)
            return
        self.execute_job(job, queue)

    def _capabilities(self) -> job_queues.Capabilities:
        """Return what this worker takes now: without a GPU, jobs of the queue `gpu` while no worker has one."""
        gpu = self._description.get("device", "").startswith("cuda")
        queues = self.settings.queues_of_worker
        now = time.monotonic()
        if not gpu and QueueName.GPU in queues and now - self._looked_at > _LOOK_SECONDS:
            self._looked_at = now
            self._gpu_elsewhere = job_queues.gpu_worker_lives(self.connection)
        if not gpu and self._gpu_elsewhere:
            queues = tuple(name for name in queues if name is not QueueName.GPU) or queues
        memory = self._description.get("memory_bytes")
        return job_queues.Capabilities(queues, gpu, int(memory) if memory else job_queues.Capabilities.memory_bytes)

    def execute_job(self, job: RQJob, queue: Queue) -> None:
        """Claim a job, run it in a child, and make sure that its end is recorded."""
        execution = job_steps.claim(self.connection, job, self.name, self.settings.worker_lost_seconds)
        if execution is None:
            _log.info("job %s is no longer queued", job.id)
            return
        self.executions[execution.id] = execution
        self._kills_before = failures.memory_kills()
        attempt = int(job.meta.get("attempts", 1))
        with attempt_span(self._tracer, job) as self._span, attempt_log(job_of(job.id), attempt):
            _log.info("job %s started, attempt %d", job.id, attempt)
            self.fork_work_horse(job, queue)
            try:
                error = self.monitor_work_horse(job, queue, execution)
            finally:
                self._horse_pid = 0
                self.executions.clear()
                self._record_state(WorkerStatus.IDLE)
            if error is not None:
                end_attempt(self._span, job, error)

    def fork_work_horse(self, job: RQJob, queue: Queue) -> None:
        """Fork the child, in a process group of its own."""
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            self._run_child(job, parent)
        with suppress(ProcessLookupError, PermissionError):
            os.setpgid(child, child)
        self._horse_pid = child

    def monitor_work_horse(self, job: RQJob, queue: Queue, execution: Execution) -> str | None:
        """Renew the lease while the child runs, and record the job's end if the child cannot.

        Returns:
            A word for why the attempt ended; None if the child has seen to its end.
        """
        started = time.monotonic()
        deadline = started + self.settings.job_timeout_seconds + _TIMEOUT_GRACE_SECONDS
        renewed = started
        self._record_state(WorkerStatus.BUSY, job_of(job.id))
        while (status := self._horse_status()) is None:
            now = time.monotonic()
            if self._stop_requested:
                self.kill_horse()
                if self._record_end(lambda: job_steps.return_to_queue(self.connection, execution)):
                    _log.warning("job %s handed back to the queue, since this worker stops", job.id)
                return "worker-stopped"
            if now > deadline:
                self.kill_horse()
                self._record_end(lambda: self._fail(execution, failures.timed_out(self.settings)))
                return ProblemKind.JOB_TIMEOUT.value.slug
            if now - renewed >= _RENEW_SECONDS:
                renewed = now
                if not self._renew(execution):
                    if self._has_ended(execution):
                        deadline = min(deadline, now + _STOP_GRACE_SECONDS)
                        time.sleep(_WATCH_SECONDS)
                        continue
                    _log.warning("job %s stopped: it was canceled or given to another worker", job.id)
                    self.kill_horse()
                    return _LEASE_LOST
            time.sleep(_WATCH_SECONDS)
        if status == 0:
            return None
        error = failures.error_of_death(status, failures.memory_kills() > self._kills_before)
        if self._record_end(lambda: job_steps.requeue_or_fail(self.connection, self.settings, execution, error)):
            _log.error("job %s: %s It is started again if it has attempts left.", job.id, error)
        return error.kind.value.slug

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """Kill the child and its process group, and wait for it."""
        for kill in (os.killpg, os.kill):
            with suppress(ProcessLookupError, PermissionError):
                kill(self._horse_pid, sig)
        with suppress(ChildProcessError):
            os.waitpid(self._horse_pid, 0)

    def _horse_status(self) -> int | None:
        pid, status = os.waitpid(self._horse_pid, os.WNOHANG)
        return status if pid else None

    def _renew(self, execution: Execution) -> bool:
        try:
            self.heartbeat()
            contextvars.Context().run(self._maintain)  # its log lines are not of this job
            return job_steps.renew(self.connection, execution, self.settings.worker_lost_seconds)
        except UNREACHABLE as error:
            _log.warning("Redis cannot be reached; the job goes on meanwhile: %s", error)
            return True

    def _has_ended(self, execution: Execution) -> bool:
        """Whether the child has recorded the job's end, which removed the lease, and is about to exit."""
        try:
            return job_steps.has_ended(self.connection, execution)
        except UNREACHABLE:
            return True

    def _fail(self, execution: Execution, error: FaceterError) -> None:
        with suppress(job_steps.LeaseLostError):
            job_steps.fail(self.connection, execution, error.problem())

    def serialize(self) -> dict[str, Any]:
        """Return what is stored of this worker."""
        return {**super().serialize(), **self._description}

    def heartbeat(self, timeout: int | None = None, pipeline: object = None) -> None:
        """Record that this worker is alive; it counts as dead after `worker_lost_seconds` without a heartbeat."""
        if not self.connection.hexists(self.key, "birth"):
            self.connection.delete(self.key)
            self.register_birth()  # type: ignore[no-untyped-call]
        super().heartbeat(self.settings.worker_lost_seconds)

    def _maintain(self) -> None:
        """Reap jobs of dead workers and delete files that nothing refers to, when due."""
        now = time.monotonic()
        if now - self._reaped_at >= self.settings.worker_lost_seconds / 4:
            self._reaped_at = now
            self.heartbeat()
            for job_id in job_reaper.reap(self.connection, self.settings):
                _log.warning("job %s taken from a dead worker", job_id)
            if not self._horse_pid and blob_references.any_released(self.connection):
                self._sweep(Library.delete_released)
            with suppress(*UNREACHABLE):
                drop_job_folders(self.settings, lambda: active_ids(self.connection))
        if now - self._swept_at >= _SWEEP_SECONDS and not self._horse_pid:
            self._swept_at = now
            self._sweep(Library.sweep)

    def _sweep(self, sweep: Callable[[Library], int]) -> None:
        try:
            with Library(self.settings) as library:
                swept = sweep(library)
        except FaceterError as error:
            _log.warning("files without references are left to the next sweep: %s", error)
            return
        if swept:
            _log.info("%d files without references deleted", swept)

    def _record_state(self, state: WorkerStatus, job_id: str | None = None) -> None:
        with suppress(*UNREACHABLE):
            self.set_state(state)
            if job_id is None:
                self.connection.hdel(self.key, "job_id")
            else:
                self.connection.hset(self.key, "job_id", job_id)

    def _retry_until_reachable(self, act: Callable[[], object]) -> None:
        while not self._stop_requested:
            try:
                act()
            except UNREACHABLE as error:
                self._wait_for_store(error)
            else:
                return

    def _record_end(self, act: Callable[[], T]) -> T | None:
        """Record a job's end, waiting for Redis if need be; not for long when stopping: then the reaper does it."""
        give_up_at: float | None = None
        while True:
            try:
                return act()
            except UNREACHABLE as error:
                now = time.monotonic()
                if self._stop_requested:
                    give_up_at = give_up_at or now + _STOP_GRACE_SECONDS
                    if now > give_up_at:
                        _log.error("Redis cannot be reached; the job is started again when its lease expires")
                        return None
                self._wait_for_store(error)

    def _wait_for_store(self, error: Exception) -> None:
        _log.warning("Redis cannot be reached, waiting: %s", error)
        until = time.monotonic() + 1.0
        while time.monotonic() < until and not self._stop_requested:
            time.sleep(_WATCH_SECONDS)

    def _run_child(self, job: RQJob, parent: int) -> NoReturn:
        """Run the job, in the child; never returns."""
        code, error = 1, None
        try:
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            parent_death.die_with_parent(signal.SIGKILL, parent)
            _raise_oom_score()
            random.seed()
            self._is_horse = True
            retry_forever(self.connection)
            with acting_for(tenant_of(job)):
                time_limit = self.death_penalty_class(job.timeout, JobTimeoutException, job_id=job.id)
                error = run_attempt(
                    self.settings, self.connection, job, next(iter(self.executions.values())), time_limit
                )
            code = 0
        except job_steps.LeaseLostError:
            code, error = 0, _LEASE_LOST
        except UNREACHABLE as away:
            _log.error("the end of job %s cannot be recorded, so this attempt ends: %s", job.id, away)
        except BaseException:
            _log.exception("job %s: its process failed", job.id)
        finally:
            with suppress(Exception):  # nothing may keep the child from its exit
                if code == 0:  # otherwise the parent does it
                    end_attempt(self._span, job, error)
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _raise_oom_score() -> None:
    """Let the kernel end this process before its parent when memory runs out."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write(_OOM_SCORE)

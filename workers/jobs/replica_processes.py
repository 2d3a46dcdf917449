"""The processes of a job that trains on several devices: forked by the job's own process, and ended with it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import torch
from pydantic import TypeAdapter
from redis import Redis
from rq.executions import Execution
from rq.job import Job as RQJob

from faceter.contracts.base import StoredRecord
from faceter.contracts.jobs import JobSpecification, QuantizationJob, Training, TranslationJob
from faceter.contracts.references import ResourceReference
from faceter.contracts.settings import Settings
from faceter.processes.parent_death import die_with_parent
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library
from faceter.store.scratch_folders import scratch_folder_of
from workers.jobs import context as job_context
from workers.jobs.context import JobContext
from workers.training.replica_group import ReplicaGroup
from workers.training.replicas import ReplicaDoneError, ReplicaLostError

_log = logging.getLogger("faceter.worker")

_FAILED: Final = 3
_LOST_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 10.0
"""How long a job whose replica has failed may take to fail by the same error."""


class JobReplicas(ReplicaGroup):
    """The replicas of a job's training.

    Args:
        rank: Number of this one.
        planned: Number of processes.
        settings: The training may take no longer than a job.
        folder: Where they find each other.
    """

    def __init__(self, rank: int, planned: int, settings: Settings, folder: Path) -> None:
        super().__init__(rank)
        self._planned = planned
        self._settings = settings
        self._folder = folder
        self._threads = torch.get_num_threads()
        self._others: list[int] = []
        self._ended = threading.Event()

    def start(self, run: Callable[[JobReplicas], object]) -> None:
        """Fork the other replicas, before torch computes anything.

        Args:
            run: Does the job, in each of them.
        """
        leader = os.getpid()
        for rank in range(1, self._planned):
            child = os.fork()
            if child == 0:
                self.rank, self._others = rank, []
                _follow(self, run, leader)
            self._others.append(child)
        for child in self._others:
            threading.Thread(target=self._watch, args=(child,), name="replica", daemon=True).start()
        self._use()

    def join(self, most: int) -> None:
        """Connect as many replicas as can share the work; the others end."""
        count = min(self._planned, most)
        if self.rank >= count:
            raise ReplicaDoneError
        if count > 1:
            self.connect(self._folder / "replicas", count, self._settings.job_timeout_seconds, loopback=True)
        if self.is_first and count > 1:
            _log.info("training goes on in %d processes, each with its share of every batch", count)
        elif self.is_first:
            self._go_on_alone()

    def leave(self) -> None:
        """End sharing; the first replica ends the others."""
        self.disconnect()
        if not self.is_first:
            raise ReplicaDoneError
        self._go_on_alone()

    def end_with_lost(self) -> None:
        """End this process as the lost replica has ended, if that is known within a second."""
        self._ended.wait(_LOST_SECONDS)

    def _go_on_alone(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        for child in self._others:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        shutil.rmtree(self._folder, ignore_errors=True)
        torch.set_num_threads(self._threads)

    def _use(self) -> None:
        """Use a GPU of its own, or a part of the threads."""
        if torch.cuda.is_available():
            torch.cuda.set_device(self.rank % torch.cuda.device_count())
        else:
            torch.set_num_threads(max(1, self._threads // self._planned))

    def _watch(self, child: int) -> None:
        """End this process as another replica has ended, so that the job is taken up again."""
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0 or self._ended.is_set():
            return
        if code == _FAILED and self._ended.wait(_GRACE_SECONDS):
            return
        _log.error("a process of this training ended (exit code %d), and so does this attempt", code)
        if code < 0:
            os.kill(os.getpid(), -code)
        os._exit(1)


class ReplicaContext(JobContext):
    """The context of a replica that is not the first: it reports nothing and stores nothing."""

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Do nothing."""

    def stop_requested(self) -> bool:
        """Return False: the first replica decides."""
        return False

    def save_checkpoint(self, content: BinaryIO | bytes) -> None:
        """Do nothing."""

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """End this replica."""
        raise ReplicaDoneError

    def add(self, record: StoredRecord) -> ResourceReference:
        """End this replica."""
        raise ReplicaDoneError


def started_replicas(settings: Settings, redis: Redis, job: RQJob, execution: Execution) -> JobReplicas | None:
    """Start the replicas of a job and return them as the first one sees them; None if the job does not train.

    It returns in the first replica only.
    """
    count = _replica_count(settings, job)
    if count == 1:
        return None
    parent = scratch_folder_of(settings, job.id)
    parent.mkdir(parents=True, exist_ok=True)
    replicas = JobReplicas(0, count, settings, Path(tempfile.mkdtemp(prefix="meet-", dir=parent)))

    def run(replica: JobReplicas) -> None:
        with Library(settings) as library:
            context = ReplicaContext(settings, library, redis, execution)
            context.replicas = replica
            job_context.enter(context)
            job.perform()

    replicas.start(run)
    return replicas


def _replica_count(settings: Settings, job: RQJob) -> int:
    """Return the number of processes to start for a job; a method of tuning may need fewer."""
    match TypeAdapter[object](JobSpecification).validate_python(job.args[0]):
        case TranslationJob(request=translator):
            return min(settings.training_processes, translator.batch_size)
        case QuantizationJob(request=quantization) if quantization.method.tuned:
            return settings.training_processes
        case _:
            return 1


def _follow(replica: JobReplicas, run: Callable[[JobReplicas], object], leader: int) -> NoReturn:
    """Do the job as one of the other replicas; never returns."""
    code = _FAILED
    try:
        die_with_parent(signal.SIGKILL, leader)
        logging.disable(logging.WARNING)  # the first replica logs the same
        replica._use()
        run(replica)
        code = 0
    except ReplicaDoneError:
        code = 0
    except ReplicaLostError:
        pass
    except BaseException:
        _log.exception("replica %d failed", replica.rank)
    finally:
        logging.shutdown()
        os._exit(code)

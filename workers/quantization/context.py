"""What a quantization needs of the job it is done in."""

from __future__ import annotations

import time
from typing import Protocol

from faceter.contracts.datasets import Dataset
from faceter.contracts.jobs import JobResult, Training
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library

_TUNING = (0.05, 0.85)


class Context(Protocol):
    """The job; ``workers.jobs.context.JobContext`` is one."""

    settings: Settings
    library: Library

    def new_id(self, prefix: str) -> str:
        """Return the id of what the job makes."""

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Say how far the job is."""

    def stop_requested(self) -> bool:
        """Whether someone wants the job to end with what it has."""

    def save_checkpoint(self, content: bytes) -> None:
        """Keep the state of the work for an attempt after this one."""

    def load_checkpoint(self) -> bytes | None:
        """Return what an earlier attempt kept."""

    def store_blob(self, source: bytes) -> StoredBlob:
        """Keep a file the job made."""

    def add_model(self, model: Model) -> JobResult:
        """Hand over a model the job made."""

    def add_dataset(self, dataset: Dataset) -> None:
        """Hand over a dataset the job made."""


class JobHooks:
    """The job as the loop of a tuned method sees it.

    Args:
        context: The job.
        resume: Whether to keep checkpoints, and go on from one that an earlier attempt kept.
    """

    def __init__(self, context: Context, *, resume: bool) -> None:
        self._context = context
        self._resume = resume
        self._kept = time.monotonic()

    def progress(self, fraction: float, training: Training) -> None:
        """Say how far tuning is, as a part of the whole job."""
        start, end = _TUNING
        self._context.progress(training.phase, start + fraction * (end - start), training)

    def stop_requested(self) -> bool:
        """Whether someone wants the best so far."""
        return self._context.stop_requested()

    def checkpoint_due(self) -> bool:
        """Whether the last checkpoint is old enough."""
        return self._resume and time.monotonic() - self._kept >= self._context.settings.checkpoint_seconds

    def save_checkpoint(self, content: bytes) -> None:
        """Keep a checkpoint."""
        self._context.save_checkpoint(content)
        self._kept = time.monotonic()

    def load_checkpoint(self) -> bytes | None:
        """Return the checkpoint of an earlier attempt, if one is to be gone on from."""
        return self._context.load_checkpoint() if self._resume else None

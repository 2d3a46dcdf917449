"""What an evaluation needs of the job it is done in."""

from __future__ import annotations

from typing import Protocol

from faceter.contracts.evaluations import Evaluation
from faceter.contracts.jobs import JobResult, Training
from faceter.contracts.settings import Settings
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library


class Context(Protocol):
    """The job; ``workers.jobs.context.JobContext`` is one."""

    settings: Settings
    library: Library

    def new_id(self, prefix: str) -> str:
        """Return the id of what the job makes."""

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Say how far the job is."""

    def save_checkpoint(self, content: bytes) -> None:
        """Keep the state of the work for an attempt after this one."""

    def load_checkpoint(self) -> bytes | None:
        """Return what an earlier attempt kept."""

    def store_blob(self, source: bytes) -> StoredBlob:
        """Keep a file the job made."""

    def add_evaluation(self, evaluation: Evaluation) -> JobResult:
        """Hand over the evaluation the job made."""

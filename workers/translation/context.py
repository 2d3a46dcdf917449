"""What training a translator needs of the job it is done in."""

from __future__ import annotations

from typing import BinaryIO, Protocol

from faceter.contracts.jobs import JobResult, Training
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.contracts.translators import Translator
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library


class Context(Protocol):
    """The job; ``workers.jobs.context.JobContext`` is one."""

    settings: Settings
    library: Library
    job_id: str

    def new_id(self, prefix: str) -> str:
        """Return the id of what the job makes."""

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        """Say how far the job is."""

    def stop_requested(self) -> bool:
        """Whether someone wants the job to end with what it has."""

    def save_checkpoint(self, content: BinaryIO | bytes) -> None:
        """Keep the state of the work for an attempt after this one."""

    def load_checkpoint(self) -> bytes | None:
        """Return what an earlier attempt kept."""

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Keep a file the job made."""

    def add_model(self, model: Model) -> JobResult:
        """Hand over a model the job made."""

    def add_translator(self, translator: Translator) -> JobResult:
        """Hand over a translator the job made."""

"""Files that a job stores with its result."""

from typing import Protocol

from faceter.contracts.base import StoredFile
from faceter.store.blobs import StoredBlob


class BlobWriter(Protocol):
    """The part of `workers.jobs.context.JobContext` that stores files."""

    def store_blob(self, source: bytes) -> StoredBlob:
        """Store content; return its hash and size."""


def store_file(context: BlobWriter, content: bytes, media_type: str) -> StoredFile:
    """Store a file and return its entry for a record."""
    blob = context.store_blob(content)
    return StoredFile(sha256=blob.sha256, bytes=blob.bytes, media_type=media_type)

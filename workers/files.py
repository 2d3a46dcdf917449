"""Files that a job leaves beside its result."""

from typing import Protocol

from faceter.contracts.base import StoredFile
from faceter.store.blobs import StoredBlob


class Storing(Protocol):
    """What can keep a file the job made; ``workers.jobs.context.JobContext`` is one."""

    def store_blob(self, source: bytes) -> StoredBlob:
        """Keep it."""


def stored(context: Storing, content: bytes, media_type: str) -> StoredFile:
    """Keep a file and return what a record says of it.

    Args:
        context: The job.
        content: The file.
        media_type: What it is.
    """
    blob = context.store_blob(content)
    return StoredFile(sha256=blob.sha256, bytes=blob.bytes, media_type=media_type)

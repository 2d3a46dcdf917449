"""The manifest of a backup: what it holds, and the digests to check it by."""

from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = 1
"""Version of the form of backups."""

MANIFEST_NAME: Final = "manifest.json"
"""Last member of the archive; without it the backup is incomplete."""

KEYS_NAME: Final = "redis.jsonl"
"""First member: the keys of Redis, one JSON document a line."""

BLOB_PREFIX: Final = "blobs/"
"""Members of files: this and their SHA-256."""


class BackupManifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    """Version of its form."""
    schema_version: int
    """Schema version of the data."""
    faceter: str
    """Version of Faceter that wrote it."""
    created_at: datetime
    """Moment whose state it holds."""
    keys: int
    """Number of keys of Redis."""
    keys_sha256: str
    """SHA-256 of the member with the keys."""
    counts: dict[str, int]
    """Number of records by collection, of jobs, and of tenants."""
    blobs: dict[str, int]
    """Size of each file by its SHA-256."""
    missing: dict[str, list[str]] = Field(default_factory=dict)
    """SHA-256 of the files that the store had not, or not with this content; ids of what names them."""

    @property
    def blob_bytes(self) -> int:
        """Size of all files."""
        return sum(self.blobs.values())

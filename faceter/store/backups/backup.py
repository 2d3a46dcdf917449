"""Writing a backup while the service runs."""

import hashlib
import io
import os
import re
import tarfile
import tempfile
from collections import Counter, defaultdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final, cast

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.references import ResourceName
from faceter.store.backups.keys import StoredKey, to_bytes
from faceter.store.backups.manifest import BLOB_PREFIX, KEYS_NAME, MANIFEST_NAME, BackupManifest
from faceter.store.backups.snapshot import Snapshot, documents, take_snapshot
from faceter.store.library import Library
from faceter.store.record_files import read_record, record_key
from faceter.store.schema import readable_version

_REFERENCES: Final = re.compile("faceter:blob:([0-9a-f]{64}):references")
_JOB: Final = re.compile("rq:job:[^:-]+")


def write_backup(library: Library, path: Path) -> BackupManifest:
    """Write all records, jobs and files as of this moment to one archive; it replaces the file when it is complete.

    Args:
        library: The store, whose Redis client must not time out within minutes.
        path: The archive.

    Raises:
        FaceterError: `STORE_UNAVAILABLE`.
        OSError: If the archive cannot be written.
        SchemaVersionError: If this version cannot read the data.
    """
    schema_version = readable_version(library.redis)
    part = path.with_name(f"{path.name}.part")
    snapshot = take_snapshot(library.redis, library.hold_seconds)
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            manifest = _write(library, snapshot, schema_version, file, path.parent)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
        for sha256 in snapshot.held:
            library.release_hold(sha256)
    return manifest


def _write(library: Library, snapshot: Snapshot, schema_version: int, file: IO[bytes], folder: Path) -> BackupManifest:
    created_at = datetime.fromtimestamp(snapshot.taken_at, UTC)
    counts: Counter[str] = Counter()
    needed: dict[str, set[str]] = defaultdict(set)
    blobs: dict[str, int] = {}
    missing: dict[str, list[str]] = {}
    with tarfile.open(fileobj=file, mode="w") as archive, tempfile.TemporaryFile(dir=folder) as keys:
        digest = hashlib.sha256()
        for document in documents(library.redis, snapshot):
            line = document.model_dump_json().encode() + b"\n"
            digest.update(line)
            keys.write(line)
            _count(document, counts, needed)
        size = keys.tell()
        keys.seek(0)
        _add(archive, KEYS_NAME, keys, size, created_at)
        for sha256 in sorted(needed):
            copied = _copy(library, archive, sha256, created_at)
            if copied is None:
                missing[sha256] = sorted(needed[sha256])
            else:
                blobs[sha256] = copied
        manifest = BackupManifest(
            schema_version=schema_version,
            faceter=version("faceter"),
            created_at=created_at,
            keys=len(snapshot.entries),
            keys_sha256=digest.hexdigest(),
            counts=dict(sorted(counts.items())),
            blobs=blobs,
            missing=missing,
        )
        text = manifest.model_dump_json(indent=1).encode()
        _add(archive, MANIFEST_NAME, io.BytesIO(text), len(text), created_at)
    return manifest


def _count(document: StoredKey, counts: Counter[str], needed: dict[str, set[str]]) -> None:
    """Count a record or job, and note which files it needs."""
    if (at := record_key(document.key)) is not None:
        counts[at.resource] += 1
        for sha256 in read_record(at, to_bytes(document.value)).files():
            needed[sha256].add(at.id)
    elif (match := _REFERENCES.fullmatch(document.key)) is not None:
        needed[match[1]].update(cast(list[str], document.value))
    elif _JOB.fullmatch(document.key):
        counts[ResourceName.JOBS] += 1


def _copy(library: Library, archive: tarfile.TarFile, sha256: str, moment: datetime) -> int | None:
    """Copy a file into the archive; return its size, or None if the store has not this content."""
    try:
        size = library.blobs.size(sha256)
        with library.blobs.open(sha256) as source:
            hashing = _Hashing(source)
            _add(archive, f"{BLOB_PREFIX}{sha256}", cast(IO[bytes], hashing), size, moment)
    except FaceterError as error:
        if error.kind is ProblemKind.BLOB_MISSING:
            return None
        raise
    # A damaged file stays in the archive, where the manifest does not name it.
    return size if hashing.digest.hexdigest() == sha256 else None


class _Hashing:
    """A stream that hashes what is read from it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size)
        self.digest.update(chunk)
        return chunk


def _add(archive: tarfile.TarFile, name: str, source: IO[bytes], size: int, moment: datetime) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mtime = int(moment.timestamp())
    member.mode = 0o600
    archive.addfile(member, source)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

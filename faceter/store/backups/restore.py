"""Restoring a backup into an empty store: everything is checked first, and Redis changes in one step."""

import hashlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from pydantic import ValidationError
from redis import Redis
from redis.lock import Lock
from rq.executions import Execution
from rq.utils import parse_composite_key

from faceter.contracts.references import ResourceName
from faceter.store import job_steps
from faceter.store.backups.keys import StoredKey, queue_key
from faceter.store.backups.manifest import BLOB_PREFIX, FORMAT, KEYS_NAME, MANIFEST_NAME, BackupManifest
from faceter.store.connection import store_errors
from faceter.store.job_endings import started_key
from faceter.store.job_leases import server_time
from faceter.store.job_queues import rq_queue
from faceter.store.library import Library
from faceter.store.schema import SCHEMA_VERSION, migrate
from faceter.store.tenants import TENANTS_KEY

_STAGED: Final = "faceter:restoring:"
_LOCK_KEY: Final = "faceter:restore:lock"
_LOCK_SECONDS: Final = 600
_BATCH: Final = 200
_CHUNK: Final = 1024 * 1024
_BLOB: Final = re.compile(f"{BLOB_PREFIX}([0-9a-f]{{64}})")
_SIGNS_OF_DATA: Final = [*(f"faceter:{resource}" for resource in ResourceName), TENANTS_KEY]


class BackupError(Exception):
    """The archive is no complete backup, or cannot be restored here; the message says what to do."""


def check_backup(path: Path) -> BackupManifest:
    """Read a whole backup and compare every member with its digest.

    Raises:
        BackupError: If it is incomplete, damaged, or of a later version.
        OSError: If it cannot be read.
    """
    found: dict[str, tuple[int, str]] = {}
    text = b""
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                content = cast(IO[bytes], archive.extractfile(member))
                if member.name == MANIFEST_NAME:
                    text = content.read()
                    continue
                digest = hashlib.sha256()
                while chunk := content.read(_CHUNK):
                    digest.update(chunk)
                found[member.name] = member.size, digest.hexdigest()
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{path} is not a complete backup: {error}. Take another one.") from error
    if not text:
        raise BackupError(f"{path} has no {MANIFEST_NAME} at its end: it is incomplete, or no backup. Take another.")
    manifest = _manifest(path, text)
    expected = {KEYS_NAME: manifest.keys_sha256, **{f"{BLOB_PREFIX}{sha256}": sha256 for sha256 in manifest.blobs}}
    damaged = [name for name, sha256 in expected.items() if found.get(name, (0, ""))[1] != sha256]
    if damaged:
        raise BackupError(
            f"{path} is damaged: {', '.join(damaged[:3])}{' and others' * (len(damaged) > 3)} "
            f"{'differs from its' if len(damaged) == 1 else 'differ from their'} digest. Nothing was restored; "
            "use another copy."
        )
    return manifest


def _manifest(path: Path, text: bytes) -> BackupManifest:
    try:
        manifest = BackupManifest.model_validate_json(text)
    except ValidationError as error:
        raise BackupError(
            f"{path} has a manifest that this Faceter cannot read. Restore it with the Faceter that wrote it, or later."
        ) from error
    if manifest.format > FORMAT or manifest.schema_version > SCHEMA_VERSION:
        raise BackupError(
            f"{path} has data of schema version {manifest.schema_version}, written by Faceter {manifest.faceter}; this "
            f"Faceter reads versions up to {SCHEMA_VERSION}. Restore it with that Faceter, or a later one."
        )
    return manifest


@store_errors()
def restore_backup(library: Library, path: Path) -> BackupManifest:
    """Restore a backup into an empty store, and return running jobs to their queues.

    Files go to the blob store first; then all keys appear in Redis in one step. If it is killed before that step, the
    store is as empty as before, and it can be run again.

    Args:
        library: The store, whose Redis client must not time out within minutes.
        path: The archive.

    Raises:
        BackupError: If the archive is not whole, or the store is not empty; then nothing is changed.
        FaceterError: `STORE_UNAVAILABLE`, `STORAGE_FULL`.
    """
    _check_empty(library.redis)
    manifest = check_backup(path)
    space = library.blobs.space()
    if space is not None and space.free < manifest.blob_bytes:
        raise BackupError(
            f"The files of {path} take {manifest.blob_bytes} bytes, and {space.free} are free in the blob store. "
            "Nothing was restored; free some, or set FACETER_BLOB_URL to a store with room."
        )
    lock = Lock(library.redis, _LOCK_KEY, timeout=_LOCK_SECONDS)
    with tarfile.open(path, "r:") as archive, lock:
        for _ in _put_blobs(library, archive, manifest):
            lock.reacquire()
        _drop_staged(library.redis)
        for _ in _stage_keys(library.redis, cast(IO[bytes], archive.extractfile(KEYS_NAME))):
            lock.reacquire()
        if found := cast(bytes, library.redis.eval(_COMMIT, 0, _STAGED, *_SIGNS_OF_DATA)):
            _drop_staged(library.redis)
            raise _not_empty(found.decode())
    migrate(library.redis)
    for entry in cast(list[bytes], library.redis.zrange(started_key(rq_queue(library.redis)), 0, -1)):
        job_id, execution_id = parse_composite_key(entry.decode())
        job_steps.return_to_queue(library.redis, Execution(execution_id, job_id, library.redis))
    return manifest


def _check_empty(redis: Redis) -> None:
    for key in _SIGNS_OF_DATA:
        if redis.exists(key):
            raise _not_empty(key)


def _not_empty(key: str) -> BackupError:
    return BackupError(
        f"The store has data already ({key}), and a backup is restored into an empty one only. Nothing was changed; "
        "choose a new data directory (--data-dir, FACETER_DATA_DIR) or an empty Redis."
    )


def _put_blobs(library: Library, archive: tarfile.TarFile, manifest: BackupManifest) -> Iterator[None]:
    for member in archive:
        match = _BLOB.fullmatch(member.name)
        if match is None or match[1] not in manifest.blobs:
            continue
        if library.blobs.exists(match[1]) and not library.blobs.is_intact(match[1]):
            library.blobs.delete(match[1])
        with library.blobs.stage(cast(IO[bytes], archive.extractfile(member))) as staged:  # type: ignore[arg-type]
            if staged.sha256 != match[1]:
                raise BackupError(f"{member.name} was changed while it was restored. Restore again from another copy.")
            library.blobs.commit(staged)
        yield


def _stage_keys(redis: Redis, lines: IO[bytes]) -> Iterator[None]:
    """Write the keys under other names, in batches."""
    now = int(server_time(redis) * 1000)
    with redis.pipeline(transaction=False) as pipeline:
        for line in lines:
            document = StoredKey.model_validate_json(line)
            if document.expires_at is None or document.expires_at > now:
                queue_key(pipeline, document, f"{_STAGED}{document.key}")
            if len(pipeline) >= _BATCH:
                pipeline.execute()
                yield
        pipeline.execute()


def _drop_staged(redis: Redis) -> None:
    """Delete what a restore that was killed has left."""
    for key in redis.scan_iter(match=f"{_STAGED}*", count=1000):
        redis.unlink(key)


_COMMIT: Final = """
for index = 2, #ARGV do
    if redis.call('EXISTS', ARGV[index]) == 1 then return ARGV[index] end
end
local cursor, staged = '0', {}
repeat
    local page = redis.call('SCAN', cursor, 'MATCH', ARGV[1] .. '*', 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do table.insert(staged, key) end
until cursor == '0'
for _, key in ipairs(staged) do
    if redis.call('EXISTS', key) == 1 then redis.call('RENAME', key, string.sub(key, #ARGV[1] + 1)) end
end
return ''
"""

"""The library: the records of all resources, and the blobs they share."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Final, Self, TypeVar, cast

from redis import Redis
from redis.client import Pipeline
from redis.lock import Lock

from faceter.contracts.base import StoredRecord
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.references import ResourceName, ResourceReference
from faceter.contracts.settings import Settings
from faceter.resources import (
    ANALYSES,
    DATASETS,
    EVALUATIONS,
    EXPLANATIONS,
    MODELS,
    RESOURCES,
    TRANSLATORS,
    Resource,
    resource_of,
)
from faceter.store import quotas
from faceter.store.blob_references import (
    RELEASED,
    UNREFERENCED_KEY,
    holds_key,
    queue_reference,
    queue_release,
    references_key,
)
from faceter.store.blobs import BlobStore, StoredBlob
from faceter.store.connection import connect, store_errors, transact
from faceter.store.orphans import find_orphans, owns, take_turn
from faceter.store.record_files import files_of as files_of
from faceter.store.records import Records

_LOCK_SECONDS: Final = 120
_UNREFERENCED_SECONDS: Final = 24 * 3600
_PATIENT_SECONDS: Final = 600.0


R = TypeVar("R", bound=StoredRecord)


class Library:
    """All records with their files; equal files share one blob, which is deleted with its last reference.

    A record references its file and its further files; a job references its checkpoint. The references of a blob are
    the set of these ids. Between `store_blob` and the `add` of its record (which may take hours in a job) the blob is
    *held*, once per call, so that deleting another record with the same content does not delete the blob. Holds expire
    a day after the time limit of jobs, and `sweep` deletes what dead processes left.

    Args:
        settings: URLs of Redis and of the blob store, and limits.
        patient: Whether to wait for minutes for replies of Redis, as whole-store operations need.
    """

    def __init__(self, settings: Settings, *, patient: bool = False) -> None:
        self.redis: Redis = connect(settings, _PATIENT_SECONDS) if patient else connect(settings)
        self._hold_seconds = settings.job_timeout_seconds + _UNREFERENCED_SECONDS
        self.blobs = BlobStore(settings.resolved_blob_url, settings.data_dir / "blob-cache")
        self._records: dict[ResourceName, Records[Any]] = {
            resource.name: Records(self.redis, resource) for resource in RESOURCES
        }
        self.models = self[MODELS]
        self.datasets = self[DATASETS]
        self.evaluations = self[EVALUATIONS]
        self.explanations = self[EXPLANATIONS]
        self.analyses = self[ANALYSES]
        self.translators = self[TRANSLATORS]

    def __getitem__(self, resource: Resource[R]) -> Records[R]:
        """Return the records of a resource."""
        return self._records[resource.name]

    def find(self, reference: ResourceReference) -> StoredRecord | None:
        """Return the referenced record, or None."""
        record: StoredRecord | None = self._records[reference.resource].find(reference.id)
        return record

    def not_found(self, reference: ResourceReference) -> FaceterError:
        """Return the error for a missing record."""
        return self._records[reference.resource].not_found(reference.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    @store_errors()
    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Store a file and hold its blob until the `add` of its record or `discard_blob`.

        Raises:
            FaceterError: `STORAGE_FULL` if there is no space; `STORE_UNAVAILABLE`.
        """
        with self.blobs.stage(source) as staged:
            with self._lock(staged.sha256), self.redis.pipeline() as pipeline:
                pipeline.incr(holds_key(staged.sha256))
                pipeline.expire(holds_key(staged.sha256), self._hold_seconds)
                pipeline.zadd(UNREFERENCED_KEY, {staged.sha256: time.time()})
                pipeline.execute()
            try:
                return self.blobs.commit(staged)
            except BaseException:
                self.discard_blob(staged.sha256)
                raise

    @store_errors()
    def discard_blob(self, sha256: str) -> None:
        """Release one hold of `store_blob`; the blob is deleted if nothing else needs it."""
        with self._lock(sha256):
            self._release_hold(self.redis, sha256)
            self._delete_if_unreferenced(sha256)

    @store_errors()
    def add(self, record: R) -> R:
        """Add a record whose files were stored with `store_blob`, each once; their holds become references.

        Returns:
            The record; the stored one if there is one of that id, which an earlier attempt of the same request added.

        Raises:
            FaceterError: `BLOB_MISSING` if one of the files is not in the store; then nothing changes.
        """
        with self._locked(files_of(record)):
            for sha256 in files_of(record):
                if not self.blobs.exists(sha256):
                    raise FaceterError(
                        ProblemKind.BLOB_MISSING, f"The file {sha256} was not stored, or has been deleted since."
                    )
            key = self._records[resource_of(record).name].key(record.id)

            def write(pipeline: Pipeline) -> R:
                text = record.model_dump_json().encode()
                stored = cast(bytes | None, pipeline.get(key))
                pipeline.multi()
                if stored is None:
                    self.queue_add(pipeline, record)
                if stored in (None, text):
                    return record
                for sha256 in files_of(record):
                    self._release_hold(pipeline, sha256)
                return type(record).model_validate_json(stored or b"")

            return transact(self.redis, write, key)

    def queue_add(self, pipeline: Pipeline, record: StoredRecord) -> None:
        """Queue `add` on the ``pipeline`` of a larger transaction; the record's files must be held."""
        self._records[resource_of(record).name].queue_add(pipeline, record)
        for sha256 in files_of(record):
            queue_reference(pipeline, sha256, record.id)
            self._release_hold(pipeline, sha256)

    @store_errors()
    def delete(self, records: Records[R], id: str) -> None:
        """Delete a record, and those of its files that nothing else references.

        Args:
            records: Its collection, such as `models`.
            id: Id of the record.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        record = records.get(id)
        files = set(files_of(record))
        with self._locked(files):
            with self.redis.pipeline() as pipeline:
                records.queue_delete(pipeline, id)
                for sha256 in files:
                    queue_release(pipeline, sha256, id)
                deleted = pipeline.execute()[0]
            if deleted:
                quotas.removed(self.redis, record)
            for sha256 in files:
                self._delete_if_unreferenced(sha256)
            if not deleted:
                raise records.not_found(id)

    @store_errors()
    def references(self, sha256: str) -> set[str]:
        """Return the ids of the records and jobs that reference this blob."""
        members = self.redis.smembers(references_key(sha256))
        return {member.decode() if isinstance(member, bytes) else member for member in members}

    @store_errors()
    def sweep(self) -> int:
        """Delete released blobs, and blobs stored more than a day ago and never referenced; return their number.

        About once a day this looks for orphans in the blob store; see `faceter.store.orphans`.
        """
        swept = self._delete_unreferenced(time.time() - _UNREFERENCED_SECONDS) + self.blobs.sweep()
        if owns(self.redis, self.blobs) and take_turn(self.redis):
            swept += self.delete_orphans(blob.sha256 for blob in find_orphans(self.redis, self.blobs))
        return swept

    @store_errors()
    def delete_orphans(self, orphans: Iterable[str]) -> int:
        """Delete blobs found by `find_orphans`, unless something has come to need them; return their number."""
        return sum(self._delete_unless_locked(sha256) for sha256 in orphans)

    @store_errors()
    def release_hold(self, sha256: str) -> None:
        """Release one hold; a blob that nothing needs any more is left to `delete_released`."""
        self._release_hold(self.redis, sha256)

    @property
    def hold_seconds(self) -> int:
        """Time after which a hold expires."""
        return self._hold_seconds

    @store_errors()
    def delete_released(self) -> int:
        """Delete released blobs, such as the checkpoints of ended jobs; return their number."""
        return self._delete_unreferenced(RELEASED)

    def _delete_unreferenced(self, until: float) -> int:
        """Delete unreferenced blobs with scores up to ``until``; locked ones are skipped and left for the next call."""
        unreferenced = cast(list[bytes], self.redis.zrangebyscore(UNREFERENCED_KEY, RELEASED, until))
        return sum(self._delete_unless_locked(sha256.decode()) for sha256 in unreferenced)

    def _delete_unless_locked(self, sha256: str) -> bool:
        lock = self._lock(sha256)
        if not lock.acquire(blocking=False):
            return False
        try:
            return self._delete_if_unreferenced(sha256)
        finally:
            lock.release()

    def _delete_if_unreferenced(self, sha256: str) -> bool:
        """Delete the blob unless it is referenced or held; the caller has its lock."""
        with self.redis.pipeline() as pipeline:
            pipeline.scard(references_key(sha256))
            pipeline.get(holds_key(sha256))
            references, holds = pipeline.execute()
        if references:
            self.redis.zrem(UNREFERENCED_KEY, sha256)
            return False
        if int(holds or 0) > 0:
            return False
        self.blobs.delete(sha256)
        self.redis.zrem(UNREFERENCED_KEY, sha256)
        return True

    def _release_hold(self, connection: Redis | Pipeline, sha256: str) -> None:
        connection.eval(_DECREMENT_TO_ZERO, 1, holds_key(sha256))

    @contextmanager
    def _locked(self, files: Iterable[str]) -> Iterator[None]:
        """Lock several blobs, always in the same order, to avoid deadlocks."""
        with ExitStack() as stack:
            for sha256 in sorted(set(files)):
                stack.enter_context(self._lock(sha256))
            yield

    def _lock(self, sha256: str) -> Lock:
        return Lock(self.redis, f"faceter:blob:{sha256}:lock", timeout=_LOCK_SECONDS, sleep=0.01)


_DECREMENT_TO_ZERO: Final = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0') - 1
if left > 0 then redis.call('DECR', KEYS[1]) else redis.call('DEL', KEYS[1]) end
return left
"""

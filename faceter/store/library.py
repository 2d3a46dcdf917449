"""The library: models and data sets, and the files they share."""

import time
from typing import BinaryIO, Final, Protocol, Self, TypeVar, cast

from redis import Redis
from redis.client import Pipeline
from redis.lock import Lock

from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.store.blobs import BlobStore, StoredBlob
from faceter.store.connection import connect, store_errors
from faceter.store.records import Record, Records

_LOCK_SECONDS: Final = 120
_HOLD_SECONDS: Final = 24 * 3600
_LOOSE_KEY: Final = "faceter:blobs:loose"


class _Filed(Record, Protocol):
    """A record that stands for one blob."""

    @property
    def sha256(self) -> str:
        """The blob."""


R = TypeVar("R", bound=_Filed)


class Library:
    """Models and data sets with their files; equal files are one blob, which goes when its last record goes.

    A blob's references are a set of record ids. Between `store_blob` and `add_model` or `add_dataset` (which may be
    hours in a job) the blob is *held*, so that deleting another record of the same content does not take it away.
    Holds run out after a day, and `sweep` deletes what a dead process left behind.

    Args:
        settings: Say which Redis and which blob store.
    """

    def __init__(self, settings: Settings) -> None:
        self.redis: Redis = connect(settings)
        self.blobs = BlobStore(settings.resolved_blob_url, settings.data_dir / "blob-cache")
        self.models: Records[Model] = Records(self.redis, "models", Model)
        self.datasets: Records[Dataset] = Records(self.redis, "datasets", Dataset, noun="data set")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    @store_errors()
    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Keep a file and hold it until `add_model`, `add_dataset` or `discard_blob`.

        Raises:
            FaceterError: `STORAGE_FULL` where there is no room; `STORE_UNAVAILABLE`.
        """
        with self.blobs.stage(source) as staged:
            with self._lock(staged.sha256), self.redis.pipeline() as pipeline:
                pipeline.incr(self._holds(staged.sha256))
                pipeline.expire(self._holds(staged.sha256), _HOLD_SECONDS)
                pipeline.zadd(_LOOSE_KEY, {staged.sha256: time.time()})
                pipeline.execute()
            try:
                return self.blobs.commit(staged)
            except BaseException:
                self.discard_blob(staged.sha256)
                raise

    @store_errors()
    def discard_blob(self, sha256: str) -> None:
        """Give up one hold of `store_blob`; the blob goes if nothing else needs it."""
        with self._lock(sha256):
            self._let_go(self.redis, sha256)
            self._delete_if_loose(sha256)

    @store_errors()
    def add_model(self, model: Model) -> Model:
        """Keep a model whose file was stored with `store_blob`; its hold becomes a reference.

        Raises:
            FaceterError: `BLOB_MISSING` if the file is not in the store.
        """
        return self._add(self.models, model)

    @store_errors()
    def add_dataset(self, dataset: Dataset) -> Dataset:
        """Keep a data set whose file was stored with `store_blob`; its hold becomes a reference.

        Raises:
            FaceterError: `BLOB_MISSING` if the file is not in the store.
        """
        return self._add(self.datasets, dataset)

    def queue_model(self, pipeline: Pipeline, model: Model) -> None:
        """Queue `add_model` on ``pipeline``, for a transaction that does more than this; its file must be held."""
        self._queue_add(pipeline, self.models, model)

    @store_errors()
    def delete_model(self, id: str) -> None:
        """Delete a model, and its file if no other record has the same.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        self._delete(self.models, id)

    @store_errors()
    def delete_dataset(self, id: str) -> None:
        """Delete a data set, and its file if no other record has the same.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        self._delete(self.datasets, id)

    @store_errors()
    def references(self, sha256: str) -> set[str]:
        """Return the ids of the records whose file this blob is."""
        members = self.redis.smembers(self._references(sha256))
        return {member.decode() if isinstance(member, bytes) else member for member in members}

    @store_errors()
    def sweep(self) -> int:
        """Delete blobs that were stored more than a day ago and never taken into a record; return how many."""
        swept = 0
        loose = cast(list[bytes], self.redis.zrangebyscore(_LOOSE_KEY, 0, time.time() - _HOLD_SECONDS))
        for raw in loose:
            sha256 = raw.decode()
            with self._lock(sha256):
                swept += self._delete_if_loose(sha256)
        return swept + self.blobs.sweep()

    def _add(self, records: Records[R], record: R) -> R:
        with self._lock(record.sha256):
            if not self.blobs.exists(record.sha256):
                raise FaceterError(
                    ProblemKind.BLOB_MISSING, f"The file {record.sha256} was not stored, or has been deleted since."
                )
            with self.redis.pipeline() as pipeline:
                self._queue_add(pipeline, records, record)
                pipeline.execute()
        return record

    def _queue_add(self, pipeline: Pipeline, records: Records[R], record: R) -> None:
        records.queue_add(pipeline, record)
        pipeline.sadd(self._references(record.sha256), record.id)
        self._let_go(pipeline, record.sha256)
        pipeline.zrem(_LOOSE_KEY, record.sha256)

    def _delete(self, records: Records[R], id: str) -> None:
        sha256 = records.get(id).sha256
        with self._lock(sha256):
            with self.redis.pipeline() as pipeline:
                records.queue_delete(pipeline, id)
                pipeline.srem(self._references(sha256), id)
                pipeline.zadd(_LOOSE_KEY, {sha256: time.time()}, nx=True)
                deleted = pipeline.execute()[0]
            if not deleted:
                raise records.not_found(id)
            self._delete_if_loose(sha256)

    def _delete_if_loose(self, sha256: str) -> bool:
        """Delete the blob unless something needs it; the caller has its lock."""
        with self.redis.pipeline() as pipeline:
            pipeline.scard(self._references(sha256))
            pipeline.get(self._holds(sha256))
            references, holds = pipeline.execute()
        if references:
            self.redis.zrem(_LOOSE_KEY, sha256)
            return False
        if int(holds or 0) > 0:
            return False
        self.blobs.delete(sha256)
        self.redis.zrem(_LOOSE_KEY, sha256)
        return True

    def _let_go(self, connection: Redis | Pipeline, sha256: str) -> None:
        connection.eval(_DECREMENT_TO_ZERO, 1, self._holds(sha256))

    def _lock(self, sha256: str) -> Lock:
        return Lock(self.redis, f"faceter:blob:{sha256}:lock", timeout=_LOCK_SECONDS, sleep=0.01)

    @staticmethod
    def _references(sha256: str) -> str:
        return f"faceter:blob:{sha256}:references"

    @staticmethod
    def _holds(sha256: str) -> str:
        return f"faceter:blob:{sha256}:holds"


_DECREMENT_TO_ZERO: Final = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0') - 1
if left > 0 then redis.call('DECR', KEYS[1]) else redis.call('DEL', KEYS[1]) end
return left
"""

"""The library: models, datasets and what was found out about them, and the files they share."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, Final, Protocol, Self, TypeVar, cast

from redis import Redis
from redis.client import Pipeline
from redis.lock import Lock

from faceter.contracts.analyses import Analysis
from faceter.contracts.base import StoredFile
from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import Evaluation
from faceter.contracts.explanations import Explanation
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.contracts.translators import Translator
from faceter.store.blob_references import LOOSE_KEY, RELEASED, queue_reference, queue_release, references_key
from faceter.store.blobs import BlobStore, StoredBlob
from faceter.store.connection import connect, store_errors
from faceter.store.records import Record, Records

_LOCK_SECONDS: Final = 120
_LOOSE_SECONDS: Final = 24 * 3600


class Filed(Record, Protocol):
    """A record that stands for one blob, and may have further files."""

    @property
    def sha256(self) -> str:
        """The blob."""

    @property
    def files(self) -> Mapping[str, StoredFile]:
        """The further files, by name."""


R = TypeVar("R", bound=Filed)


class Library:
    """All records with their files; equal files are one blob, which goes when its last record goes.

    A record refers to its file and to each of its further files; a job refers to its checkpoint. A blob's references
    are the set of their ids. Between `store_blob` and the `add` of its record (which may be hours in a job) the blob
    is *held*, once for each call, so that deleting another record of the same content does not take it away.
    Holds run out a day after the longest job would have ended, and `sweep` deletes what a dead process left behind.

    Args:
        settings: Say which Redis and which blob store.
    """

    def __init__(self, settings: Settings) -> None:
        self.redis: Redis = connect(settings)
        self._hold_seconds = settings.job_timeout_seconds + _LOOSE_SECONDS
        self.blobs = BlobStore(settings.resolved_blob_url, settings.data_dir / "blob-cache")
        self.models: Records[Model] = Records(self.redis, "models", Model)
        self.datasets: Records[Dataset] = Records(self.redis, "datasets", Dataset, noun="dataset")
        self.evaluations: Records[Evaluation] = Records(self.redis, "evaluations", Evaluation)
        self.explanations: Records[Explanation] = Records(self.redis, "explanations", Explanation)
        self.analyses: Records[Analysis] = Records(self.redis, "analyses", Analysis, noun="analysis")
        self.translators: Records[Translator] = Records(self.redis, "translators", Translator)
        self._collections: dict[type[Record], Records[Any]] = {
            Model: self.models,
            Dataset: self.datasets,
            Evaluation: self.evaluations,
            Explanation: self.explanations,
            Analysis: self.analyses,
            Translator: self.translators,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    @store_errors()
    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        """Keep a file and hold it until the `add` of its record or `discard_blob`.

        Raises:
            FaceterError: `STORAGE_FULL` where there is no room; `STORE_UNAVAILABLE`.
        """
        with self.blobs.stage(source) as staged:
            with self._lock(staged.sha256), self.redis.pipeline() as pipeline:
                pipeline.incr(self._holds(staged.sha256))
                pipeline.expire(self._holds(staged.sha256), self._hold_seconds)
                pipeline.zadd(LOOSE_KEY, {staged.sha256: time.time()})
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
    def add(self, record: R) -> R:
        """Keep a record whose files were stored with `store_blob`, each once; their holds become references.

        Raises:
            FaceterError: `BLOB_MISSING` if one of the files is not in the store; then nothing is changed.
        """
        with self._locked(files_of(record)):
            for sha256 in files_of(record):
                if not self.blobs.exists(sha256):
                    raise FaceterError(
                        ProblemKind.BLOB_MISSING, f"The file {sha256} was not stored, or has been deleted since."
                    )
            with self.redis.pipeline() as pipeline:
                self.queue_add(pipeline, record)
                pipeline.execute()
        return record

    def queue_add(self, pipeline: Pipeline, record: Filed) -> None:
        """Queue `add` on ``pipeline``, for a transaction that does more than this; the record's files must be held."""
        self._collections[type(record)].queue_add(pipeline, record)
        for sha256 in files_of(record):
            queue_reference(pipeline, sha256, record.id)
            self._let_go(pipeline, sha256)

    @store_errors()
    def delete(self, records: Records[R], id: str) -> None:
        """Delete a record, and those of its files that no other record has.

        Args:
            records: The collection it is of, such as `models`.
            id: Which.

        Raises:
            FaceterError: `NOT_FOUND`.
        """
        files = set(files_of(records.get(id)))
        with self._locked(files):
            with self.redis.pipeline() as pipeline:
                records.queue_delete(pipeline, id)
                for sha256 in files:
                    queue_release(pipeline, sha256, id)
                deleted = pipeline.execute()[0]
            for sha256 in files:
                self._delete_if_loose(sha256)
            if not deleted:
                raise records.not_found(id)

    @store_errors()
    def references(self, sha256: str) -> set[str]:
        """Return the ids of the records and jobs that refer to this blob."""
        members = self.redis.smembers(references_key(sha256))
        return {member.decode() if isinstance(member, bytes) else member for member in members}

    @store_errors()
    def sweep(self) -> int:
        """Delete blobs that were let go, or stored more than a day ago and never referred to; return how many."""
        return self._delete_loose(time.time() - _LOOSE_SECONDS) + self.blobs.sweep()

    @store_errors()
    def delete_released(self) -> int:
        """Delete the blobs that were let go, such as the checkpoints of ended jobs; return how many."""
        return self._delete_loose(RELEASED)

    def _delete_loose(self, until: float) -> int:
        """Delete what is loose since then, but for what someone is busy with, or died over: its turn comes later."""
        deleted = 0
        for raw in cast(list[bytes], self.redis.zrangebyscore(LOOSE_KEY, RELEASED, until)):
            sha256 = raw.decode()
            lock = self._lock(sha256)
            if lock.acquire(blocking=False):
                try:
                    deleted += self._delete_if_loose(sha256)
                finally:
                    lock.release()
        return deleted

    def _delete_if_loose(self, sha256: str) -> bool:
        """Delete the blob unless something needs it; the caller has its lock."""
        with self.redis.pipeline() as pipeline:
            pipeline.scard(references_key(sha256))
            pipeline.get(self._holds(sha256))
            references, holds = pipeline.execute()
        if references:
            self.redis.zrem(LOOSE_KEY, sha256)
            return False
        if int(holds or 0) > 0:
            return False
        self.blobs.delete(sha256)
        self.redis.zrem(LOOSE_KEY, sha256)
        return True

    def _let_go(self, connection: Redis | Pipeline, sha256: str) -> None:
        connection.eval(_DECREMENT_TO_ZERO, 1, self._holds(sha256))

    @contextmanager
    def _locked(self, files: Iterable[str]) -> Iterator[None]:
        """Lock several blobs, in one order everywhere, so that nobody waits in a circle."""
        with ExitStack() as stack:
            for sha256 in sorted(set(files)):
                stack.enter_context(self._lock(sha256))
            yield

    def _lock(self, sha256: str) -> Lock:
        return Lock(self.redis, f"faceter:blob:{sha256}:lock", timeout=_LOCK_SECONDS, sleep=0.01)

    @staticmethod
    def _holds(sha256: str) -> str:
        return f"faceter:blob:{sha256}:holds"


def files_of(record: Filed) -> list[str]:
    """Return the blobs of a record, one that it has twice twice."""
    return [record.sha256, *(file.sha256 for file in record.files.values())]


_DECREMENT_TO_ZERO: Final = """
local left = tonumber(redis.call('GET', KEYS[1]) or '0') - 1
if left > 0 then redis.call('DECR', KEYS[1]) else redis.call('DEL', KEYS[1]) end
return left
"""

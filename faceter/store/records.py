"""Records: small JSON documents in Redis, listed newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar, cast

from redis import Redis
from redis.client import Pipeline

from faceter.contracts.base import Page, StoredRecord
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.resources import Resource
from faceter.store import quotas
from faceter.store.connection import store_errors, transact
from faceter.store.newest_first import NewestFirst, encode_position, position_of
from faceter.store.tenants import key_prefix, queue_registration

_MOST_ECHOED: Final = 200


T = TypeVar("T", bound=StoredRecord)


class Records(Generic[T]):
    """The records of one resource, of the current tenant; their keys are `{prefix of the tenant}{collection}:{id}`.

    Args:
        redis: The store.
        resource: The resource, with its collection, contract and noun.
    """

    def __init__(self, redis: Redis, resource: Resource[Any]) -> None:
        self._redis = redis
        self._type: type[T] = resource.contract
        self._noun = resource.noun
        self.resource = resource

    def key(self, id: str) -> str:
        """Return the Redis key of a record."""
        return f"{key_prefix()}{self.resource.name}:{id}"

    @property
    def _index(self) -> NewestFirst:
        return NewestFirst(self._redis, f"{key_prefix()}{self.resource.name}")

    @store_errors()
    def add(self, record: T) -> None:
        """Add a record.

        Raises:
            ValueError: If its id is already used.
        """

        def write(pipeline: Pipeline) -> None:
            if pipeline.exists(self.key(record.id)):
                raise ValueError(f"there is already a {self._noun} {record.id}")
            pipeline.multi()
            self.queue_add(pipeline, record)

        transact(self._redis, write, self.key(record.id))

    def queue_add(self, pipeline: Pipeline, record: T) -> None:
        """Queue `add` on the ``pipeline`` of a larger transaction."""
        pipeline.set(self.key(record.id), record.model_dump_json())
        self._index.add(pipeline, record.id, record.created_at)
        queue_registration(pipeline)
        quotas.queue_added(pipeline, record)

    def queue_delete(self, pipeline: Pipeline, id: str) -> None:
        """Queue `delete` on the ``pipeline`` of a larger transaction."""
        pipeline.delete(self.key(id))
        self._index.remove(pipeline, id)

    @store_errors()
    def find(self, id: str) -> T | None:
        """Return the record of that id, or None."""
        return self._load([id])[0]

    def get(self, id: str) -> T:
        """Return the record of that id.

        Raises:
            FaceterError: `NOT_FOUND`, naming the id, with the collection as `resource`.
        """
        record = self.find(id)
        if record is None:
            raise self.not_found(id)
        return record

    def not_found(self, id: str) -> FaceterError:
        """Return the error for a missing record."""
        return FaceterError(
            ProblemKind.NOT_FOUND,
            f"There is no {self._noun} {id[:_MOST_ECHOED]!r}.",
            resource=self.resource.name.value,
        )

    @store_errors()
    def replace(self, record: T) -> None:
        """Replace the record with the same id.

        Raises:
            FaceterError: `NOT_FOUND` if it does not exist.
        """
        if not self._redis.set(self.key(record.id), record.model_dump_json(), xx=True):
            raise self.not_found(record.id)

    @store_errors()
    def delete(self, id: str) -> bool:
        """Delete the record of that id; return whether there was one."""
        record = self.find(id)
        with self._redis.pipeline() as pipeline:
            self.queue_delete(pipeline, id)
            deleted = bool(pipeline.execute()[0])
        if deleted and record is not None:
            quotas.removed(self._redis, record)
        return deleted

    @store_errors()
    def count(self) -> int:
        """Return the number of records."""
        return self._index.count()

    @store_errors()
    def page(self, limit: int, cursor: str | None = None, where: Callable[[T], bool] | None = None) -> Page[T]:
        """Return one page, newest first; see `NewestFirst.page`.

        Raises:
            FaceterError: `INVALID_REQUEST` for an invalid cursor or a limit below 1.
        """
        return self._index.page(limit, cursor, self._load, where)

    def cursor_after(self, record: T) -> str:
        """Return the cursor of the page after a record, which may no longer exist."""
        return encode_position(position_of(record.id, record.created_at))

    def _load(self, ids: Sequence[str]) -> list[T | None]:
        raw = cast(list[bytes | None], self._redis.mget([self.key(id) for id in ids]))
        return [None if text is None else self._type.model_validate_json(text) for text in raw]

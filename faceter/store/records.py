"""Records: small JSON documents in Redis, listed newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Generic, Protocol, TypeVar, cast

from redis import Redis
from redis.client import Pipeline

from faceter.contracts.base import Page
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.connection import store_errors, transact
from faceter.store.newest_first import NewestFirst, encode_cursor, position_of

_MOST_ECHOED: Final = 200


class Record(Protocol):
    """A contract that can be kept: it has an id and a time of creation, and goes to JSON and back."""

    @property
    def id(self) -> str:
        """Opaque id."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    def model_dump_json(self) -> str:
        """Return it as JSON."""

    @classmethod
    def model_validate_json(cls, json_data: str | bytes) -> Record:
        """Return the record of some JSON."""


T = TypeVar("T", bound=Record)


class Records(Generic[T]):
    """One collection of records.

    Args:
        redis: Where they are kept.
        collection: Its plural name, such as `models`; keys are `faceter:models:{id}`.
        type_: The contract of its records.
        noun: What one record is called in a message; made from the collection's name if not given.
    """

    def __init__(self, redis: Redis, collection: str, type_: type[T], noun: str | None = None) -> None:
        self._redis = redis
        self._type = type_
        self._prefix = f"faceter:{collection}:"
        self._index = NewestFirst(redis, f"faceter:{collection}")
        self._noun = noun or collection.removesuffix("s")
        self.collection = collection

    def key(self, id: str) -> str:
        """Return the Redis key of a record."""
        return self._prefix + id

    @store_errors()
    def add(self, record: T) -> None:
        """Keep a new record.

        Raises:
            ValueError: If there is one with its id.
        """

        def write(pipeline: Pipeline) -> None:
            if pipeline.exists(self.key(record.id)):
                raise ValueError(f"there is already a {self._noun} {record.id}")
            pipeline.multi()
            self.queue_add(pipeline, record)

        transact(self._redis, write, self.key(record.id))

    def queue_add(self, pipeline: Pipeline, record: T) -> None:
        """Queue the addition on ``pipeline``, for a transaction that does more than this."""
        pipeline.set(self.key(record.id), record.model_dump_json())
        self._index.add(pipeline, record.id, record.created_at)

    def queue_delete(self, pipeline: Pipeline, id: str) -> None:
        """Queue the deletion on ``pipeline``, for a transaction that does more than this."""
        pipeline.delete(self.key(id))
        self._index.remove(pipeline, id)

    @store_errors()
    def find(self, id: str) -> T | None:
        """Return the record of that id, or None."""
        return self._load([id])[0]

    def get(self, id: str) -> T:
        """Return the record of that id.

        Raises:
            FaceterError: `NOT_FOUND`, naming the collection and the id.
        """
        record = self.find(id)
        if record is None:
            raise self.not_found(id)
        return record

    def not_found(self, id: str) -> FaceterError:
        """Return the error that says there is no such record."""
        return FaceterError(
            ProblemKind.NOT_FOUND,
            f"There is no {self._noun} {id[:_MOST_ECHOED]!r}. GET /v1/{self.collection} lists those there are.",
        )

    @store_errors()
    def replace(self, record: T) -> None:
        """Put a record in the place of the one with its id.

        Raises:
            FaceterError: `NOT_FOUND` if there is none.
        """
        if not self._redis.set(self.key(record.id), record.model_dump_json(), xx=True):
            raise self.not_found(record.id)

    @store_errors()
    def delete(self, id: str) -> bool:
        """Delete the record of that id; return whether there was one."""
        with self._redis.pipeline() as pipeline:
            self.queue_delete(pipeline, id)
            return bool(pipeline.execute()[0])

    @store_errors()
    def count(self) -> int:
        """Return how many records there are."""
        return self._index.count()

    @store_errors()
    def page(self, limit: int, cursor: str | None = None, where: Callable[[T], bool] | None = None) -> Page[T]:
        """Return one page, newest first; see `NewestFirst.page`.

        Raises:
            FaceterError: `INVALID_REQUEST` for a cursor that is not ours or a limit below 1.
        """
        return self._index.page(limit, cursor, self._load, where)

    def cursor_after(self, record: T) -> str:
        """Return the cursor of the page that goes on after a record, whether it is still there or not."""
        return encode_cursor(position_of(record.id, record.created_at))

    def _load(self, ids: Sequence[str]) -> list[T | None]:
        raw = cast(list[bytes | None], self._redis.mget([self.key(id) for id in ids]))
        return [None if text is None else cast(T, self._type.model_validate_json(text)) for text in raw]

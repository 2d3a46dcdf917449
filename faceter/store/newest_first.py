"""An index that lists ids newest first, in pages that are stable while records are added and deleted."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar, cast

from pydantic import Field, TypeAdapter
from redis import Redis
from redis.client import Pipeline

from faceter.contracts.base import Page
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.store.cursors import decode_cursor, encode_cursor

T = TypeVar("T")

_CHUNK = 100
_MICROSECOND = 1_000_000

Position = tuple[Annotated[int, Field(ge=0, lt=10**17)], Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,128}$")]]
"""Position of an entry: its creation time in microseconds since 1970, then its id."""

_POSITION: Final[TypeAdapter[Position]] = TypeAdapter(Position)


def position_of(id: str, created_at: datetime) -> Position:
    """Return the position of an entry."""
    return _microseconds(created_at), id


def _microseconds(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _MICROSECOND + since.microseconds


def encode_position(position: Position) -> str:
    """Return the cursor of the page after a position."""
    return encode_cursor(_POSITION, position)


class NewestFirst:
    """A sorted set of ids by creation time.

    Args:
        redis: The store.
        key: The sorted set's key.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self.key = key

    def add(self, pipeline: Pipeline, id: str, created_at: datetime) -> None:
        """Queue the addition of an entry on ``pipeline``."""
        pipeline.zadd(self.key, {id: _microseconds(created_at)})

    def remove(self, pipeline: Pipeline, *ids: str) -> None:
        """Queue the removal of entries on ``pipeline``."""
        if ids:
            pipeline.zrem(self.key, *ids)

    def count(self) -> int:
        """Return the number of entries."""
        return int(self._redis.zcard(self.key))

    def page(
        self,
        limit: int,
        cursor: str | None,
        load: Callable[[Sequence[str]], Sequence[T | None]],
        where: Callable[[T], bool] | None = None,
    ) -> Page[T]:
        """Return one page, newest first.

        Pages neither repeat nor skip entries while others are added or deleted. Entries whose record has expired are
        removed from the index.

        Args:
            limit: Most items of the page, at least 1.
            cursor: `next_cursor` of the previous page.
            load: Returns the records of ids in order; None for one that does not exist.
            where: Only records for which it is true are listed.

        Raises:
            FaceterError: `INVALID_REQUEST` for an invalid cursor or a limit below 1.
        """
        if limit < 1:
            raise FaceterError(ProblemKind.INVALID_REQUEST, "The limit must be at least 1.", field="limit")
        after = decode_cursor(_POSITION, cursor) if cursor else None
        items: list[tuple[Position, T]] = []
        while len(items) <= limit:
            positions = self._after(after)
            if not positions:
                break
            after = positions[-1]
            records = load([id for _, id in positions])
            missing = [id for (_, id), record in zip(positions, records, strict=True) if record is None]
            if missing:
                self._redis.zrem(self.key, *missing)
            items += [
                (position, record)
                for position, record in zip(positions, records, strict=True)
                if record is not None and (where is None or where(record))
            ]
        more = len(items) > limit
        items = items[:limit]
        return Page(items=[record for _, record in items], next_cursor=encode_position(items[-1][0]) if more else None)

    def _after(self, position: Position | None) -> list[Position]:
        """Return up to one chunk of entries after ``position``."""
        offset = 0
        top: str | int = "+inf" if position is None else position[0]
        while True:
            raw = cast(
                list[tuple[bytes, float]],
                self._redis.zrange(
                    self.key, cast(int, top), cast(int, "-inf"), desc=True, withscores=True, byscore=True,
                    offset=offset, num=_CHUNK,
                ),
            )  # fmt: skip
            entries = [(int(score), id.decode()) for id, score in raw]
            rest = [entry for entry in entries if position is None or entry < position]
            if rest or len(entries) < _CHUNK:
                return rest
            offset += _CHUNK

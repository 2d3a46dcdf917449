"""An index that lists ids newest first, in pages that stay put while records come and go."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar, cast

from redis import Redis
from redis.client import Pipeline

from faceter.contracts.base import Page
from faceter.contracts.errors import FaceterError, ProblemKind

T = TypeVar("T")

_CHUNK = 100
_POSITION = re.compile(r"(\d{1,17}):([A-Za-z0-9_-]{1,128})")
_MICROSECOND = 1_000_000

Position = tuple[int, str]
"""Where an entry stands: microseconds since 1970 of its creation, and its id where two are equal."""


def position_of(id: str, created_at: datetime) -> Position:
    """Return where an entry stands."""
    return _microseconds(created_at), id


def _microseconds(moment: datetime) -> int:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * _MICROSECOND + since.microseconds


def encode_cursor(position: Position) -> str:
    """Return the cursor that continues after ``position``."""
    return base64.urlsafe_b64encode(f"{position[0]}:{position[1]}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Position:
    """Return the position a cursor stands for.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor`, if no list handed this cursor out.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        match = _POSITION.fullmatch(text)
    except (binascii.Error, UnicodeError, ValueError):
        match = None
    if match is None:
        raise not_our_cursor()
    return int(match[1]), match[2]


def not_our_cursor() -> FaceterError:
    """Return the error for a cursor that no list handed out."""
    return FaceterError(
        ProblemKind.INVALID_REQUEST,
        "This cursor is of no list like this one. Pass `next_cursor` of the page before, with the same filters and "
        "order.",
        field="cursor",
    )


class NewestFirst:
    """A sorted set of ids by creation time.

    Args:
        redis: Where it is kept.
        key: The sorted set's key.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self.key = key

    def add(self, pipeline: Pipeline, id: str, created_at: datetime) -> None:
        """Queue the entry's addition on ``pipeline``."""
        pipeline.zadd(self.key, {id: _microseconds(created_at)})

    def remove(self, pipeline: Pipeline, *ids: str) -> None:
        """Queue the entries' removal on ``pipeline``."""
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

        Pages neither repeat nor skip what stays there while others are added or deleted. Entries whose
        record is gone (expired) are taken out of the index on the way.

        Args:
            limit: Most items of the page, at least 1.
            cursor: `next_cursor` of the page before.
            load: Returns the records of some ids in their order, None for one that is gone.
            where: Keeps only the records it is true for.

        Raises:
            FaceterError: `INVALID_REQUEST` if the cursor is not one of ours or the limit is below 1.
        """
        if limit < 1:
            raise FaceterError(ProblemKind.INVALID_REQUEST, "The limit must be at least 1.", field="limit")
        after = decode_cursor(cursor) if cursor else None
        items: list[tuple[Position, T]] = []
        while len(items) <= limit:
            positions = self._after(after)
            if not positions:
                break
            after = positions[-1]
            records = load([id for _, id in positions])
            gone = [id for (_, id), record in zip(positions, records, strict=True) if record is None]
            if gone:
                self._redis.zrem(self.key, *gone)
            items += [
                (position, record)
                for position, record in zip(positions, records, strict=True)
                if record is not None and (where is None or where(record))
            ]
        more = len(items) > limit
        items = items[:limit]
        return Page(items=[record for _, record in items], next_cursor=encode_cursor(items[-1][0]) if more else None)

    def _after(self, position: Position | None) -> list[Position]:
        """Return up to a chunk of entries that come after ``position``."""
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
            found = [(int(score), id.decode()) for id, score in raw]
            rest = [entry for entry in found if position is None or entry < position]
            if rest or len(found) < _CHUNK:
                return rest
            offset += _CHUNK

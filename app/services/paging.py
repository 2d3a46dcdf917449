"""Lists that are more than pages newest first: cursors of their own, records one by one, pages sorted by some value."""

import base64
import binascii
import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from faceter.contracts.base import Page
from faceter.store.newest_first import not_our_cursor
from faceter.store.records import Record, Records

T = TypeVar("T")
C = TypeVar("C")
R = TypeVar("R", bound=Record)

_AT_A_TIME: Final = 100

_Rank = tuple[bool, FiniteFloat, str]
_SORTED: Final[TypeAdapter[tuple[str, _Rank]]] = TypeAdapter(tuple[str, _Rank])


def encode_cursor(adapter: TypeAdapter[C], place: C) -> str:
    """Return a place in a list as an opaque cursor."""
    return base64.urlsafe_b64encode(adapter.dump_json(place)).decode().rstrip("=")


def decode_cursor(adapter: TypeAdapter[C], cursor: str) -> C:
    """Return the place a cursor stands for.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor`, if no such list handed it out.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return adapter.validate_json(text, strict=False)
    except (binascii.Error, ValueError, ValidationError) as error:
        raise not_our_cursor() from error


def walked(records: Records[R], where: Callable[[R], bool], cursor: str | None = None) -> Iterator[R]:
    """Yield records newest first, some read at a time.

    Args:
        records: The collection.
        where: Keeps only those it is true for.
        cursor: Where to begin.
    """
    while True:
        page = records.page(_AT_A_TIME, cursor, where)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def sorted_page(
    records: Iterable[T],
    order: str,
    limit: int,
    cursor: str | None,
    *,
    value: Callable[[T], float | None],
    id: Callable[[T], str],
) -> Page[T]:
    """Return one page of records sorted by a value, those that have none last, ties by id.

    Pages neither repeat nor skip what stays there and keeps its value while others come and go. No more records than
    the page has are held at a time.

    Args:
        records: All of them, in any order.
        order: What they are sorted by; a cursor is good for one order only.
        limit: Most items of the page, at least 1.
        cursor: `next_cursor` of the page before.
        value: What they are sorted by, the smallest first.
        id: Tells records apart.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor` if it is not of a list in this order.
    """
    after: _Rank | None = None
    if cursor:
        named, after = decode_cursor(_SORTED, cursor)
        if named != order:
            raise not_our_cursor()

    def rank(record: T) -> _Rank:
        found = value(record)
        return found is None, found or 0.0, id(record)

    ranked = ((rank(record), record) for record in records)
    rest = (pair for pair in ranked if after is None or pair[0] > after)
    first = heapq.nsmallest(limit + 1, rest, key=lambda pair: pair[0])
    items = first[:limit]
    more = len(first) > limit
    return Page(
        items=[record for _, record in items],
        next_cursor=encode_cursor(_SORTED, (order, items[-1][0])) if more else None,
    )

"""Iteration over all records of a collection, and pages sorted by a value."""

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from pydantic import FiniteFloat, TypeAdapter

from faceter.contracts.base import Page, StoredRecord
from faceter.store.cursors import decode_cursor, encode_cursor, foreign_cursor
from faceter.store.records import Records

T = TypeVar("T")
R = TypeVar("R", bound=StoredRecord)

_PAGE_SIZE: Final = 100

_Rank = tuple[bool, FiniteFloat, str]
_SORTED: Final[TypeAdapter[tuple[str, _Rank]]] = TypeAdapter(tuple[str, _Rank])


def iterate_records(records: Records[R], where: Callable[[R], bool], cursor: str | None = None) -> Iterator[R]:
    """Yield records newest first, reading them in pages.

    Args:
        where: Only records for which it is true are yielded.
        cursor: Start after this position.
    """
    while True:
        page = records.page(_PAGE_SIZE, cursor, where)
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
    """Return one page of records sorted by a value; records without one are last, ties are ordered by id.

    Pages neither repeat nor skip records that exist with an unchanged value during paging. Memory is bounded by the
    size of the page.

    Args:
        records: All records, in any order.
        order: Name of the order; a cursor is valid for one order only.
        limit: Maximum number of items, at least 1.
        cursor: `next_cursor` of the previous page.
        value: Sort key, ascending; None if the record has no value.
        id: Returns the id of a record.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor` if it belongs to another order.
    """
    after: _Rank | None = None
    if cursor:
        cursor_order, after = decode_cursor(_SORTED, cursor)
        if cursor_order != order:
            raise foreign_cursor()

    def rank(record: T) -> _Rank:
        number = value(record)
        return number is None, number or 0.0, id(record)

    ranked = ((rank(record), record) for record in records)
    rest = (pair for pair in ranked if after is None or pair[0] > after)
    first = heapq.nsmallest(limit + 1, rest, key=lambda pair: pair[0])
    items = first[:limit]
    more = len(first) > limit
    return Page(
        items=[record for _, record in items],
        next_cursor=encode_cursor(_SORTED, (order, items[-1][0])) if more else None,
    )

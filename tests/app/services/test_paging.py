"""Sorted pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.paging import sorted_page
from faceter.contracts.errors import FaceterError

Record = tuple[float | None, str]

RECORDS = st.lists(
    st.tuples(st.none() | st.sampled_from([-1.5, 0.0, -0.0, 0.1, 1e300]), st.text("abc", min_size=1, max_size=4)),
    unique_by=lambda record: record[1],
    max_size=25,
)


def page(records: list[Record], limit: int, cursor: str | None, order: str = "fid") -> tuple[list[Record], str | None]:
    found = sorted_page(records, order, limit, cursor, value=lambda record: record[0], id=lambda record: record[1])
    return found.items, found.next_cursor


@given(records=RECORDS, limit=st.integers(1, 8))
def test_pages_concatenate_to_the_sorted_list(records: list[Record], limit: int) -> None:
    items, cursor = page(records, limit, None)
    pages = [items]
    while cursor is not None:
        items, cursor = page(records, limit, cursor)
        pages.append(items)
    assert all(len(items) == limit for items in pages[:-1])
    assert [record for items in pages for record in items] == sorted(
        records, key=lambda record: (record[0] is None, record[0] or 0, record[1])
    )


def test_pages_are_stable_under_changes() -> None:
    records: list[Record] = [(float(n), str(n)) for n in range(6)]
    _, cursor = page(records, 2, None)
    items, _ = page([(-1.0, "new"), *records[2:]], 2, cursor)
    assert items == records[2:4]


@pytest.mark.parametrize(
    "cursor", ["x", "é", "MTc2NDA2MzAwMDAwMDptZGxf", "bnVsbA", "W10", "WyJmaWQiLFtmYWxzZSxOYU4sImEiXV0"]
)
def test_cursors_of_other_lists_are_refused(cursor: str) -> None:
    with pytest.raises(FaceterError) as refused:
        page([(1.0, "a")], 1, cursor)
    assert [error.field for error in refused.value.errors] == ["cursor"]


def test_a_cursor_is_valid_for_one_order() -> None:
    _, cursor = page([(1.0, "a"), (2.0, "b")], 1, None, "fid")
    with pytest.raises(FaceterError):
        page([(1.0, "a"), (2.0, "b")], 1, cursor, "-fid")

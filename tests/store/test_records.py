from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from redis import Redis

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.resources import DATASETS
from faceter.store.cursors import decode_cursor, encode_cursor
from faceter.store.newest_first import encode_position
from faceter.store.records import Records

_PAIR = TypeAdapter(tuple[int, str])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def dataset(id: str, created_at: datetime | None = None, name: str = "digits") -> Dataset:
    return Dataset(
        id=id,
        name=name,
        kind=DatasetKind.IMAGES,
        created_at=created_at or utc_now(),
        sha256="0" * 64,
        bytes=1,
        samples=1,
    )


@pytest.fixture
def records(redis: Redis) -> Records[Dataset]:
    return Records(redis, DATASETS)


def ids(items: list[Dataset]) -> list[str]:
    return [item.id for item in items]


def test_a_record_is_read_back_unchanged(records: Records[Dataset]) -> None:
    record = dataset("dts_1", name="Ziffern — 数字")
    records.add(record)
    assert records.get("dts_1") == record
    assert records.find("dts_1") == record
    assert records.count() == 1


def test_a_missing_record_is_not_found_by_name(records: Records[Dataset]) -> None:
    assert records.find("dts_none") is None
    with pytest.raises(FaceterError, match="dataset 'dts_none'") as missing:
        records.get("dts_none")
    assert missing.value.kind is ProblemKind.NOT_FOUND
    with pytest.raises(FaceterError):
        records.replace(dataset("dts_none"))
    assert records.count() == 0


def test_a_list_continues_after_a_deleted_record(records: Records[Dataset]) -> None:
    added = [dataset(f"dts_{n}", NOON + timedelta(seconds=n // 2)) for n in range(5)]
    for record in added:
        records.add(record)
    for place, record in enumerate(added):
        assert ids(records.page(9, records.cursor_after(record)).items) == ids(added[:place][::-1])
    records.delete("dts_3")
    assert ids(records.page(9, records.cursor_after(added[3])).items) == ["dts_2", "dts_1", "dts_0"]


def test_an_id_is_unique(records: Records[Dataset]) -> None:
    records.add(dataset("dts_1", name="first"))
    with pytest.raises(ValueError, match="dts_1"):
        records.add(dataset("dts_1", name="second"))
    assert records.get("dts_1").name == "first"


def test_a_record_is_replaced_in_place(records: Records[Dataset]) -> None:
    for n in range(3):
        records.add(dataset(f"dts_{n}", NOON + timedelta(seconds=n)))
    records.replace(dataset("dts_1", NOON, name="new"))
    assert [item.name for item in records.page(10).items] == ["digits", "new", "digits"]


def test_a_deleted_record_is_gone(records: Records[Dataset]) -> None:
    records.add(dataset("dts_1"))
    assert records.delete("dts_1")
    assert not records.delete("dts_1")
    assert records.page(10).items == []
    assert records.count() == 0


def test_pages_are_newest_first_and_stay_put_while_records_come_and_go(records: Records[Dataset]) -> None:
    for n in range(10):
        records.add(dataset(f"dts_{n}", NOON + timedelta(seconds=n)))
    first = records.page(4)
    assert ids(first.items) == ["dts_9", "dts_8", "dts_7", "dts_6"]
    records.add(dataset("dts_new", NOON + timedelta(days=1)))
    records.delete("dts_6")
    records.delete("dts_5")
    second = records.page(4, first.next_cursor)
    assert ids(second.items) == ["dts_4", "dts_3", "dts_2", "dts_1"]
    last = records.page(4, second.next_cursor)
    assert ids(last.items) == ["dts_0"]
    assert last.next_cursor is None


def test_a_filter_applies_to_all_pages(records: Records[Dataset]) -> None:
    for n in range(250):
        records.add(dataset(f"dts_{n:03}", NOON + timedelta(seconds=n), name=str(n % 50)))
    page = records.page(3, where=lambda record: record.name == "7")
    assert ids(page.items) == ["dts_207", "dts_157", "dts_107"]
    page = records.page(3, page.next_cursor, where=lambda record: record.name == "7")
    assert ids(page.items) == ["dts_057", "dts_007"]
    assert page.next_cursor is None


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.integers(0, 3), max_size=30), limit=st.integers(1, 7))
def test_pages_together_are_the_whole_list_even_of_equal_times(redis: Redis, seconds: list[int], limit: int) -> None:
    redis.flushdb()
    records: Records[Dataset] = Records(redis, DATASETS)
    added_records = [dataset(f"dts_{n:02}", NOON + timedelta(seconds=second)) for n, second in enumerate(seconds)]
    for record in added_records:
        records.add(record)
    seen: list[str] = []
    cursor = None
    while True:
        page = records.page(limit, cursor)
        assert len(page.items) <= limit
        seen += ids(page.items)
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ids(sorted(added_records, key=lambda record: (record.created_at, record.id), reverse=True))


def test_many_records_of_one_instant_are_all_listed(records: Records[Dataset]) -> None:
    for n in range(230):
        records.add(dataset(f"dts_{n:03}", NOON))
    first = records.page(120)
    second = records.page(120, first.next_cursor)
    assert ids(first.items + second.items) == [f"dts_{n:03}" for n in reversed(range(230))]


@pytest.mark.parametrize("cursor", ["x", "!!!", "MTIz", "ünïcode", "A" * 500, encode_cursor(_PAIR, (1, "a/b"))])
def test_an_invalid_cursor_is_refused(records: Records[Dataset], cursor: str) -> None:
    with pytest.raises(FaceterError) as bad:
        records.page(1, cursor)
    assert bad.value.kind is ProblemKind.INVALID_REQUEST
    assert bad.value.errors[0].field == "cursor"


def test_a_limit_below_one_is_refused(records: Records[Dataset]) -> None:
    with pytest.raises(FaceterError) as bad:
        records.page(0)
    assert bad.value.errors[0].field == "limit"


@given(st.integers(0, 10**16), st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True))
def test_a_position_survives_its_cursor(moment: int, id: str) -> None:
    assert decode_cursor(_PAIR, encode_position((moment, id))) == (moment, id)

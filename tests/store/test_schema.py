import pytest
from redis import Redis

from faceter.store.library import Library
from faceter.store.schema import SCHEMA_VERSION, SchemaVersionError, check_schema
from tests.store.test_records import dataset


def test_an_empty_store_gets_this_version(redis: Redis) -> None:
    check_schema(redis)
    assert redis.get("faceter:schema") == SCHEMA_VERSION.encode()
    check_schema(redis)


def test_data_without_a_version_is_refused_and_stays_as_it_is(redis: Redis, library: Library) -> None:
    record = dataset("dts_1")
    library.datasets.add(record)
    with pytest.raises(SchemaVersionError, match="before API v1"):
        check_schema(redis)
    assert redis.get("faceter:schema") is None
    assert library.datasets.get("dts_1") == record


def test_data_of_another_version_is_refused(redis: Redis) -> None:
    redis.set("faceter:schema", "2")
    with pytest.raises(SchemaVersionError, match="schema version 2, and this Faceter reads version 1"):
        check_schema(redis)

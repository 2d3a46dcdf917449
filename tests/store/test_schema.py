"""Data of earlier versions is migrated, as dumps of real services show."""

import json
import threading
from collections.abc import Iterator

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import JobStatus
from faceter.contracts.queue_names import QueueName
from faceter.contracts.settings import Settings
from faceter.resources import RESOURCES
from faceter.store import job_queues, job_records
from faceter.store.backups.snapshot import documents, take_snapshot
from faceter.store.blob_references import references_key
from faceter.store.connection import connect
from faceter.store.library import Library, files_of
from faceter.store.migrations import MIGRATIONS, v2_lines_and_references
from faceter.store.record_files import find_records
from faceter.store.schema import SCHEMA_VERSION, SchemaVersionError, migrate
from tests.store.dumps import load
from tests.store.test_records import dataset

RUNNING, WAITING, ENDED = "job_36j4e2ay4xv58snq0157", "job_frgredjqwn3gxegrcr12", "job_7gzkpcdr200kjp6r7gqb"


def state(redis: Redis) -> dict[str, object]:
    """Return all that is stored, but for holds and bells."""
    found = documents(redis, take_snapshot(redis, 1))
    return {key.key: sorted(key.value) if key.type in ("set", "hash", "zset") else key.value for key in found}


def test_an_empty_store_gets_this_version(redis: Redis) -> None:
    assert migrate(redis) == []
    assert redis.get("faceter:schema") == str(SCHEMA_VERSION).encode()
    assert migrate(redis) == []


def test_data_without_a_version_is_refused_and_stays_as_it_is(redis: Redis, library: Library) -> None:
    record = dataset("dts_1")
    library.datasets.add(record)
    with pytest.raises(SchemaVersionError, match="before API v1"):
        migrate(redis)
    assert redis.get("faceter:schema") is None
    assert library.datasets.get("dts_1") == record


def test_data_of_a_later_version_is_refused(redis: Redis) -> None:
    redis.set("faceter:schema", "1000")
    with pytest.raises(SchemaVersionError, match="schema version 1000, and this Faceter reads versions up to"):
        migrate(redis)
    assert redis.get("faceter:schema") == b"1000"


def test_every_version_has_a_migration_from_the_one_before() -> None:
    assert [migration.version for migration in MIGRATIONS] == list(range(2, SCHEMA_VERSION + 1))


def test_a_store_of_the_first_version_is_read_after_its_migration(
    redis: Redis, library: Library, queue: JobQueue
) -> None:
    stored = {key.key: key for key in load(redis, "v1")}
    model = next(found.record for found in find_records(redis) if found.at.id.startswith("mdl_7"))
    assert model is not None
    redis.delete(references_key(model.sha256))  # what a store of that version may lack

    assert [migration.version for migration in migrate(redis)] == list(range(2, SCHEMA_VERSION + 1))

    assert {resource.name.value: library[resource].count() for resource in RESOURCES if library[resource].count()} == {
        "datasets": 1,
        "models": 2,
    }
    for found in find_records(redis):
        assert found.record is not None
        assert found.record.model_dump(mode="json") == json.loads(stored[found.at.key].value)
        assert all(found.at.id in library.references(sha256) for sha256 in files_of(found.record))
    assert library.find(queue.get(ENDED).result) == model  # type: ignore[arg-type]
    assert [job.id for job in queue.page(10, None, lambda job: True).items] == [WAITING, RUNNING, ENDED]
    assert queue.get(RUNNING).status is JobStatus.RUNNING
    assert job_queues.queue_of(job_records.fetch(redis, RUNNING)) is QueueName.GPU
    assert job_queues.take(redis, job_queues.Capabilities()) == WAITING
    assert redis.llen("rq:queue:faceter") == 0


def test_a_migration_that_was_killed_is_completed_by_the_next(redis: Redis) -> None:
    load(redis, "v1")
    migrate(redis)
    expected = state(redis)
    steps = 0
    while True:
        redis.flushdb()
        load(redis, "v1")
        interrupted: Iterator[None] = v2_lines_and_references.steps(redis)
        done = [True for _ in zip(range(steps), interrupted, strict=False)]
        assert redis.get("faceter:schema") == b"1"
        migrate(redis)
        assert state(redis) == expected
        if len(done) < steps:
            break
        steps += 1
    assert steps > 2


def test_processes_that_start_together_migrate_once(redis: Redis, settings: Settings) -> None:
    load(redis, "v1")
    versions: list[int] = []

    def start() -> None:
        with connect(settings) as own:
            versions.extend(migration.version for migration in migrate(own))

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == list(range(2, SCHEMA_VERSION + 1))

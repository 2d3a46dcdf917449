"""The doctor finds each kind of damage, mends what can be mended, and finds nothing in a sound store."""

import threading
from collections.abc import Callable

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import JobStatus
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_queues, job_records, job_steps
from faceter.store.blob_references import references_key
from faceter.store.doctor.examination import examine
from faceter.store.doctor.findings import Finding
from faceter.store.job_endings import started_key
from faceter.store.library import Library
from faceter.store.migrations import MIGRATIONS
from faceter.store.record_files import find_records
from faceter.store.schema import SCHEMA_KEY, migrate
from faceter.store.tenants import acting_for
from tests.store.dumps import load
from tests.store.jobs.test_shards import divided, done
from tests.store.jobs.worker_side import RESULT, claim, claimed
from tests.store.test_library import dataset, model
from tests.store.test_orphans import age, orphan
from tests.workers.long_tasks import job_spec

Damage = Callable[[], str]


@pytest.fixture
def sound(library: Library, redis: Redis, queue: JobQueue, settings: Settings) -> Library:
    """A store with records of two tenants, and a job in each state, of which one is divided."""
    migrate(redis)
    library.add(model(library.store_blob(b"weights"), "mdl_first", sheet=library.store_blob(b"sheet")))
    library.add(dataset(library.store_blob(b"weights")))
    with acting_for("physics"):
        library.add(model(library.store_blob(b"theirs"), "mdl_theirs"))
        queue.enqueue(job_spec("succeeds"))
    ended, running = (queue.enqueue(job_spec("succeeds")).id for _ in range(2))
    for id in (ended, running):
        execution = claimed(redis, id)
        if id == ended:
            job_steps.succeed(redis, execution, RESULT)
    checkpoint = library.store_blob(b"checkpoint")
    job_checkpoints.save(redis, execution, checkpoint.sha256)
    library.discard_blob(checkpoint.sha256)
    first, _ = divided(redis, settings, queue.enqueue(job_spec("succeeds")).id)
    done(redis, library, claimed(redis, first), b"part")
    return library


def checks(findings: list[Finding]) -> dict[str, list[str]]:
    return {finding.check: finding.ids for finding in findings}


def first(library: Library) -> Model:
    return library.models.get("mdl_first")


def test_a_sound_store_has_no_findings(sound: Library, settings: Settings) -> None:
    assert examine(settings, sound, mend=True, deep=True) == []


@pytest.mark.parametrize(
    "kind",
    [
        "unlisted-records",
        "entries-without-record",
        "unknown-tenants",
        "missing-references",
        "stale-references",
        "tenant-bytes",
        "orphaned-files",
        "queued-nowhere",
        "dead-workers",
        "running-without-lease",
        "active-jobs",
        "unlisted-jobs",
        "entries-without-job",
        "scratch-folders",
    ],
)
def test_damage_is_found_and_mended(
    kind: str, sound: Library, settings: Settings, redis: Redis, queue: JobQueue
) -> None:
    record = first(sound)
    jobs = queue.page(10, None, lambda job: job.status is JobStatus.RUNNING and job.progress is None).items
    (running,) = [job.id for job in jobs]
    expected = record.id
    match kind:
        case "unlisted-records":
            redis.zrem("faceter:models", record.id)
        case "entries-without-record":
            redis.zadd("faceter:datasets", {"dts_gone": 1})
            expected = "dts_gone"
        case "unknown-tenants":
            redis.delete("faceter:tenants")
            expected = "physics"
        case "missing-references":
            redis.delete(references_key(record.files["sheet"].sha256))
        case "stale-references":
            redis.sadd(references_key(record.sha256), "mdl_gone")
            expected = record.sha256
        case "tenant-bytes":
            redis.hset("faceter:tenant-bytes", "physics", 1)
            expected = "physics"
        case "orphaned-files":
            expected = orphan(sound, b"lost")
            age(sound)
        case "queued-nowhere":
            expected = queue.enqueue(job_spec("succeeds")).id
            redis.delete(job_queues.line_key(job_records.fetch(redis, expected)))
        case "dead-workers":
            expected = claimed(redis, queue.enqueue(job_spec("succeeds")).id, lease=0).composite_key
        case "running-without-lease":
            redis.delete(started_key(job_queues.rq_queue(redis)))
            expected = running
        case "active-jobs":
            redis.srem(job_records.ACTIVE_KEY, running)
            redis.sadd(job_records.ACTIVE_KEY, "job_gone")
            expected = running
        case "unlisted-jobs":
            redis.zrem("faceter:jobs", running)
            expected = running
        case "entries-without-job":
            redis.zadd("faceter:jobs", {"job_gone": 1})
            expected = "job_gone"
        case _:
            folder = settings.scratch_dir / "of-job_gone"
            folder.mkdir(parents=True)
            expected = str(folder)
    (found,) = examine(settings, sound, alone=True)
    assert found.check == kind
    assert expected in found.ids
    assert found.mended == []
    (mended,) = examine(settings, sound, mend=True, alone=True)
    assert mended.mended == found.ids
    assert examine(settings, sound, deep=True, alone=True) == []
    assert sound.blobs.read(record.sha256) == b"weights"
    if kind in ("queued-nowhere", "dead-workers", "running-without-lease"):
        assert claim(redis, expected.partition(":")[0]) is not None


def test_what_nothing_else_needs_goes_with_its_stale_reference(
    sound: Library, settings: Settings, redis: Redis
) -> None:
    lost = sound.store_blob(b"lost").sha256
    redis.sadd(references_key(lost), "mdl_gone")
    sound.discard_blob(lost)
    assert sound.blobs.exists(lost)
    (found,) = examine(settings, sound, mend=True)
    assert (found.check, found.mended) == ("stale-references", [lost])
    assert not sound.blobs.exists(lost)


def test_a_missing_file_is_named_with_what_it_is_of_and_left(sound: Library, settings: Settings) -> None:
    record = first(sound)
    sound.blobs.delete(record.files["sheet"].sha256)
    (found,) = examine(settings, sound, mend=True)
    assert (found.check, found.mended) == ("missing-files", [])
    assert found.ids == [f"{record.files['sheet'].sha256} of mdl_first"]
    assert "backup" in found.remedy


def test_another_size_is_seen_at_once_and_another_content_by_reading(sound: Library, settings: Settings) -> None:
    path = sound.blobs.path(first(sound).sha256)
    path.write_bytes(b"WEIGHTS")
    assert examine(settings, sound) == []
    assert list(checks(examine(settings, sound, deep=True))) == ["damaged-files"]
    path.write_bytes(b"short")
    assert list(checks(examine(settings, sound))) == ["damaged-files"]


def test_an_unreadable_record_is_left_with_its_files(sound: Library, settings: Settings, redis: Redis) -> None:
    record = first(sound)
    redis.set(sound.models.key(record.id), record.model_dump_json().replace('"opset"', '"of_a_later_version"'))
    age(sound)
    assert examine(settings, sound, mend=True)[0].check == "unreadable-records"
    assert sound.references(record.files["sheet"].sha256) == {record.id}


def test_a_foreign_blob_store_is_said_and_nothing_deleted_there(sound: Library, settings: Settings) -> None:
    sound.blobs.set_owner("own_another")
    lost = orphan(sound, b"lost")
    age(sound)
    (found,) = examine(settings, sound, mend=True)
    assert (found.check, found.mended) == ("foreign-blob-store", [])
    assert sound.blobs.exists(lost)


def test_earlier_data_is_migrated_and_later_data_left(library: Library, settings: Settings, redis: Redis) -> None:
    load(redis, "v1")
    (found,) = examine(settings, library)
    assert (found.check, found.ids) == ("schema-version", ["1"])
    assert examine(settings, library, mend=True)[0].mended == ["1"]
    assert int(redis.get(SCHEMA_KEY) or 0) == MIGRATIONS[-1].version
    redis.set(SCHEMA_KEY, "1000")
    (found,) = examine(settings, library, mend=True)
    assert (found.check, found.mended) == ("schema-version", [])


def test_a_server_that_may_drop_data_is_named(sound: Library, settings: Settings, redis: Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("appendonly", "no")
    try:
        assert list(checks(examine(settings, sound))) == ["no-append-only-file", "eviction"]
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
        redis.config_set("appendonly", "yes")


def test_beside_a_busy_service_nothing_is_found_and_nothing_lost(
    sound: Library, settings: Settings, redis: Redis, queue: JobQueue
) -> None:
    stop = threading.Event()
    failures: list[Exception] = []

    def come_and_go() -> None:
        try:
            with Library(settings) as own:
                while not stop.is_set():
                    record = own.add(model(own.store_blob(b"busy"), None, sheet=own.store_blob(b"sheet")))
                    assert own.blobs.read(record.sha256) == b"busy"
                    own.delete(own.models, record.id)
                    job = queue.enqueue(job_spec("succeeds"))
                    queue.cancel(job.id)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=come_and_go) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        found = [finding for _ in range(8) for finding in examine(settings, sound, mend=True, deep=True)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert failures == []
    assert [finding for finding in found if finding.check != "tenant-bytes"] == []
    assert {found.at.id for found in find_records(redis)} >= {"mdl_first", "mdl_theirs"}
    assert [finding for finding in examine(settings, sound, mend=True, deep=True) if finding.left] == []

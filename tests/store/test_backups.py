"""Backups hold the state of one moment, are checked before anything is restored, and appear in Redis in one step."""

import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.jobs import JobStatus
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints, job_steps
from faceter.store.backups.backup import write_backup
from faceter.store.backups.manifest import BackupManifest
from faceter.store.backups.restore import BackupError, check_backup, restore_backup
from faceter.store.library import Library
from faceter.store.schema import migrate
from faceter.store.tenants import acting_for
from tests.store.jobs.test_shards import divided, done
from tests.store.jobs.worker_side import RESULT, claimed
from tests.store.test_library import files_in, model
from tests.workers.long_tasks import job_spec


@pytest.fixture
def filled(library: Library, redis: Redis) -> Library:
    """A library with two models that share a file, of the present schema version."""
    migrate(redis)
    for content in (b"one", b"two"):
        library.add(model(library.store_blob(content), None, sheet=library.store_blob(b"sheet")))
    return library


@pytest.fixture
def other(redis: Redis, settings: Settings, tmp_path: Path) -> Iterator[Library]:
    """A library with a blob store of its own; it is empty once Redis is."""
    with Library(settings.model_copy(update={"data_dir": tmp_path / "other"})) as library:
        yield library


def models_of(library: Library) -> list[Model]:
    return library.models.page(100).items


def rewritten(source: Path, target: Path, change: dict[str, bytes | None]) -> Path:
    """Copy an archive with other contents of some members; None leaves one out."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            content = old.extractfile(member)
            assert content is not None
            data = change.get(member.name, content.read())
            if data is not None:
                member.size = len(data)
                new.addfile(member, io.BytesIO(data))
    return target


def test_records_jobs_tenants_and_files_are_restored_as_they_were(
    filled: Library, other: Library, redis: Redis, queue: JobQueue, settings: Settings, tmp_path: Path
) -> None:
    before = models_of(filled)
    with acting_for("physics"):
        theirs = filled.add(model(filled.store_blob(b"theirs")))
    ended, running, waiting = (queue.enqueue(job_spec("succeeds")).id for _ in range(3))
    job_steps.succeed(redis, claimed(redis, ended), RESULT)
    execution = claimed(redis, running)
    checkpoint = filled.store_blob(b"checkpoint")
    job_checkpoints.save(redis, execution, checkpoint.sha256)
    filled.discard_blob(checkpoint.sha256)
    divided_job = queue.enqueue(job_spec("succeeds")).id
    first, second = divided(redis, settings, divided_job)
    part = done(redis, filled, claimed(redis, first), b"part")
    succeeded = queue.get(ended)

    manifest = write_backup(filled, tmp_path / "a.tar")
    assert manifest.counts == {"jobs": 4, "models": 3}
    assert (tmp_path / "a.tar").stat().st_mode & 0o077 == 0
    redis.flushall()
    restore_backup(other, tmp_path / "a.tar")

    assert models_of(other) == before
    assert {other.blobs.read(record.sha256) for record in models_of(other)} == {b"one", b"two"}
    with acting_for("physics"):
        assert models_of(other) == [theirs]
    assert queue.get(ended) == succeeded
    assert queue.get(waiting).status is JobStatus.QUEUED
    assert queue.get(running).status is JobStatus.QUEUED
    assert {claimed(redis, job).job_id for job in (running, waiting)} == {running, waiting}
    assert other.blobs.read(part) == b"part"
    done(redis, other, claimed(redis, second), b"other part")
    assert claimed(redis, divided_job).job_id == divided_job
    assert other.blobs.read(str(job_checkpoints.find(redis, running))) == b"checkpoint"
    other.delete(other.models, before[0].id)
    assert {other.blobs.read(record.sha256) for record in models_of(other)} == {b"one"}


def test_a_file_deleted_during_a_backup_is_in_it_and_then_deleted(
    filled: Library, redis: Redis, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = models_of(filled)
    size = filled.blobs.size

    def deleting(sha256: str) -> int:
        while records:
            filled.delete(filled.models, records.pop().id)
        return size(sha256)

    monkeypatch.setattr(filled.blobs, "size", deleting)
    manifest = write_backup(filled, tmp_path / "a.tar")
    assert (len(manifest.blobs), manifest.missing) == (3, {})
    assert check_backup(tmp_path / "a.tar") == manifest
    assert filled.delete_released() == 3
    assert files_in(settings) == []


def test_a_backup_beside_writers_has_for_every_record_its_files(
    filled: Library, settings: Settings, tmp_path: Path
) -> None:
    stop = threading.Event()

    def come_and_go() -> None:
        with Library(settings) as own:
            count = 0
            while not stop.is_set():
                count += 1
                record = own.add(model(own.store_blob(f"{threading.get_ident()} {count}".encode())))
                if count % 3:
                    own.delete(own.models, record.id)

    writers = [threading.Thread(target=come_and_go) for _ in range(3)]
    for writer in writers:
        writer.start()
    manifests: list[BackupManifest] = []
    try:
        while len(manifests) < 5 or len({manifest.counts["models"] for manifest in manifests}) == 1:
            manifests.append(write_backup(filled, tmp_path / "a.tar"))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert all(manifest.missing == {} for manifest in manifests)


def test_missing_and_damaged_files_are_named_and_the_rest_is_restored(
    filled: Library, other: Library, redis: Redis, tmp_path: Path
) -> None:
    second, first = models_of(filled)
    filled.blobs.delete(first.sha256)
    filled.blobs.path(second.sha256).write_bytes(b"TWO")
    manifest = write_backup(filled, tmp_path / "a.tar")
    assert manifest.missing == {first.sha256: [first.id], second.sha256: [second.id]}
    redis.flushall()
    assert restore_backup(other, tmp_path / "a.tar") == manifest
    assert models_of(other) == [second, first]
    assert not other.blobs.exists(second.sha256)


def test_a_damaged_file_in_the_way_is_replaced(filled: Library, redis: Redis, tmp_path: Path) -> None:
    write_backup(filled, tmp_path / "a.tar")
    record = models_of(filled)[0]
    filled.blobs.path(record.sha256).write_bytes(b"TWO")
    redis.flushall()
    restore_backup(filled, tmp_path / "a.tar")
    assert filled.blobs.read(record.sha256) == b"two"


def test_a_damaged_archive_changes_nothing(filled: Library, redis: Redis, other: Library, tmp_path: Path) -> None:
    whole = tmp_path / "a.tar"
    manifest = write_backup(filled, whole)
    name = f"blobs/{min(manifest.blobs)}"
    bad = {
        "differs": rewritten(whole, tmp_path / "b.tar", {name: b"xxx"}),
        "redis.jsonl differs": rewritten(whole, tmp_path / "c.tar", {"redis.jsonl": b"{}"}),
        "has no manifest.json": rewritten(whole, tmp_path / "d.tar", {"manifest.json": None}),
        "differs from its digest": rewritten(whole, tmp_path / "e.tar", {name: None}),
    }
    cut = tmp_path / "f.tar"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    redis.flushall()
    for message, path in [*bad.items(), ("complete", cut), ("complete", Path(__file__))]:
        with pytest.raises(BackupError, match=message):
            restore_backup(other, path)
    assert redis.keys("*") == []
    assert list(other.blobs.listed()) == []


def test_a_backup_of_a_later_version_is_refused(filled: Library, redis: Redis, tmp_path: Path) -> None:
    manifest = write_backup(filled, tmp_path / "a.tar").model_copy(update={"schema_version": 1000})
    later = rewritten(tmp_path / "a.tar", tmp_path / "b.tar", {"manifest.json": manifest.model_dump_json().encode()})
    redis.flushall()
    with pytest.raises(BackupError, match="schema version 1000"):
        restore_backup(filled, later)


def test_a_store_with_data_is_left_as_it_is(filled: Library, redis: Redis, tmp_path: Path) -> None:
    write_backup(filled, tmp_path / "a.tar")
    new = filled.add(model(filled.store_blob(b"new")))
    before = redis.dbsize()
    with pytest.raises(BackupError, match="has data already"):
        restore_backup(filled, tmp_path / "a.tar")
    assert filled.models.get(new.id) == new
    assert redis.dbsize() == before


def test_a_restore_that_was_killed_has_shown_nothing_and_can_be_repeated(
    filled: Library, other: Library, redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = models_of(filled)
    write_backup(filled, tmp_path / "a.tar")
    redis.flushall()
    redis.hset("faceter:restoring:faceter:models:mdl_of_an_earlier_try", "a", "b")
    real = other.redis.eval

    def dies(script: str, *arguments: object) -> object:
        if "RENAME" in script:
            raise KeyboardInterrupt
        return real(script, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(other.redis, "eval", dies)
        with pytest.raises(KeyboardInterrupt):
            restore_backup(other, tmp_path / "a.tar")
    assert models_of(other) == []
    restore_backup(other, tmp_path / "a.tar")
    assert models_of(other) == before
    assert redis.keys("faceter:restoring:*") == []

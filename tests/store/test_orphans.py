"""Orphans are found in the blob store itself, and never while something needs them."""

import os
import time
from pathlib import Path

import pytest
from redis import Redis

from app.services.jobs.queue import JobQueue
from faceter.contracts.settings import Settings
from faceter.store import job_checkpoints
from faceter.store.blob_references import UNREFERENCED_KEY, holds_key, references_key
from faceter.store.blobs import BlobStore
from faceter.store.library import Library
from faceter.store.orphans import OWNER_KEY, find_orphans, owns
from tests.store.jobs.test_shards import divided, done
from tests.store.jobs.worker_side import claimed
from tests.store.test_library import model
from tests.workers.long_tasks import job_spec


def age(library: Library) -> None:
    """Make all blobs two days old."""
    for blob in list(library.blobs.listed()):
        os.utime(library.blobs.path(blob.sha256), (time.time() - 2 * 86400,) * 2)


def orphan(library: Library, content: bytes) -> str:
    """Store a blob of which Redis then loses all knowledge."""
    sha256 = library.store_blob(content).sha256
    library.redis.delete(holds_key(sha256))
    library.redis.zrem(UNREFERENCED_KEY, sha256)
    return sha256


def test_the_sweep_deletes_what_redis_knows_nothing_of_after_a_day(library: Library, redis: Redis) -> None:
    kept = library.add(model(library.store_blob(b"kept")))
    lost = orphan(library, b"lost")
    assert library.sweep() == 0
    age(library)
    assert library.sweep() == 0  # it was looked for today
    redis.delete("faceter:blobs:orphans-sought")
    assert library.sweep() == 1
    assert not library.blobs.exists(lost)
    assert library.blobs.exists(kept.sha256)


def test_nothing_in_use_is_an_orphan(library: Library, redis: Redis, queue: JobQueue, settings: Settings) -> None:
    lost = orphan(library, b"lost")
    held = library.store_blob(b"held").sha256
    redis.zrem(UNREFERENCED_KEY, held)
    released = orphan(library, b"released")
    redis.zadd(UNREFERENCED_KEY, {released: 0})
    recorded = library.add(model(library.store_blob(b"recorded")))
    redis.delete(references_key(recorded.sha256))
    unreadable = library.add(model(library.store_blob(b"unreadable")))
    redis.delete(references_key(unreadable.sha256))
    redis.set(library.models.key(unreadable.id), f'{{"of": "a later version", "sha256": "{unreadable.sha256}"}}')
    execution = claimed(redis, queue.enqueue(job_spec("succeeds")).id)
    checkpoint = library.store_blob(b"checkpoint").sha256
    job_checkpoints.save(redis, execution, checkpoint)
    library.discard_blob(checkpoint)
    redis.delete(references_key(checkpoint))
    first, _ = divided(redis, settings, queue.enqueue(job_spec("succeeds")).id)
    redis.delete(references_key(done(redis, library, claimed(redis, first), b"part")))
    age(library)
    assert [blob.sha256 for blob in find_orphans(redis, library.blobs)] == [lost]
    library.store_blob(b"lost")  # somebody uploads it again, after it was found
    assert library.delete_orphans([lost]) == 0
    assert library.blobs.exists(lost)


def test_where_the_blob_store_belongs_to_another_redis_nothing_is_deleted(library: Library, redis: Redis) -> None:
    record = library.add(model(library.store_blob(b"kept")))
    library.sweep()
    age(library)
    redis.flushall()  # the data of Redis is lost, or FACETER_REDIS_URL names another one
    assert library.sweep() == 0
    assert not owns(redis, library.blobs)
    assert library.blobs.exists(record.sha256)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_store_lists_its_blobs_and_keeps_its_owner(
    kind: str, request: pytest.FixtureRequest, redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    url = request.getfixturevalue("s3_url") if kind == "s3" else str(tmp_path / "blobs")
    blobs = BlobStore(url, tmp_path / "cache")
    assert list(blobs.listed()) == []
    assert blobs.owner() is None
    assert owns(redis, blobs)
    assert str(blobs.owner()).encode() == redis.get(OWNER_KEY)
    stored = {blobs.put(content).sha256: len(content) for content in (b"a", b"bc")}
    listed = list(blobs.listed())
    assert {blob.sha256: blob.bytes for blob in listed} == stored
    assert all(abs(blob.stored_at - time.time()) < 600 for blob in listed)
    blobs.delete(listed[0].sha256)
    assert len(list(blobs.listed())) == 1

"""Repairs of what belongs to records: references of files, places in the index, used bytes of tenants."""

from collections import Counter
from collections.abc import Iterable, Iterator

from redis import Redis
from redis.client import Pipeline

from faceter.store.blob_references import queue_reference, references_key
from faceter.store.connection import transact
from faceter.store.newest_first import NewestFirst
from faceter.store.quotas import bytes_of, set_used_bytes, used_bytes
from faceter.store.record_files import FoundRecord, find_records


def unreferenced_files(redis: Redis, records: Iterable[FoundRecord]) -> Iterator[tuple[FoundRecord, list[str]]]:
    """Yield the records that lack references to files of theirs, with the SHA-256 of these."""
    for found in records:
        if found.record is None:
            continue
        files = list(found.files())
        with redis.pipeline() as pipeline:
            pipeline.exists(found.at.key)
            for sha256 in files:
                pipeline.sismember(references_key(sha256), found.at.id)
            exists, *referenced = pipeline.execute()
        lacking = [sha256 for sha256, has in zip(files, referenced, strict=True) if not has]
        if exists and lacking:
            yield found, lacking


def add_references(redis: Redis, found: FoundRecord, files: Iterable[str]) -> bool:
    """Add references of a record, unless it was deleted meanwhile; return whether it was not."""

    def body(pipeline: Pipeline) -> bool:
        exists = bool(pipeline.exists(found.at.key))
        pipeline.multi()
        if exists:
            for sha256 in files:
                queue_reference(pipeline, sha256, found.at.id)
        return exists

    return transact(redis, body, found.at.key)


def is_unlisted(redis: Redis, found: FoundRecord) -> bool:
    """Return whether a record exists that its index lacks."""
    with redis.pipeline() as pipeline:
        pipeline.exists(found.at.key)
        pipeline.zscore(found.at.index, found.at.id)
        exists, score = pipeline.execute()
    return bool(exists) and score is None


def list_record(redis: Redis, found: FoundRecord) -> bool:
    """Add a record to its index, unless it was deleted meanwhile; return whether it was not."""
    record = found.record
    assert record is not None

    def body(pipeline: Pipeline) -> bool:
        exists = bool(pipeline.exists(found.at.key))
        pipeline.multi()
        if exists:
            NewestFirst(redis, found.at.index).add(pipeline, record.id, record.created_at)
        return exists

    return transact(redis, body, found.at.key)


def sums_of_bytes(records: Iterable[FoundRecord]) -> dict[str, int]:
    """Return the size of all files of the records of each tenant."""
    sums: Counter[str] = Counter()
    for found in records:
        if found.record is not None:
            sums[found.at.tenant] += bytes_of(found.record)
    return dict(sums)


def count_used_bytes(redis: Redis, tenant: str) -> bool:
    """Count the used bytes of a tenant anew; return whether no record of its was added or deleted meanwhile."""
    before = used_bytes(redis, tenant)
    total = sums_of_bytes(find_records(redis)).get(tenant, 0)
    if used_bytes(redis, tenant) != before:
        return False
    set_used_bytes(redis, tenant, total)
    return True

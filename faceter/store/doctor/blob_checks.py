"""Checks of files: present, whole, referenced by what needs them, and needed by what references them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final, cast

from redis import Redis
from redis.client import Pipeline

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.resources import JOB_PREFIX
from faceter.store.blob_references import queue_release, references_key
from faceter.store.connection import transact
from faceter.store.doctor.findings import Finding, Patient, finding
from faceter.store.job_records import ACTIVE_STATUSES, job_key
from faceter.store.orphans import find_orphans, owns
from faceter.store.record_files import FoundRecord, find_records
from faceter.store.record_repair import add_references, unreferenced_files

_REFERENCES: Final = re.compile("faceter:blob:([0-9a-f]{64}):references")


def check_references(patient: Patient) -> Iterator[Finding]:
    """Check that records reference their files, and that what references a file exists."""
    redis = patient.library.redis
    lacking: dict[str, tuple[FoundRecord, list[str]]] = {
        found.at.id: (found, files) for found, files in unreferenced_files(redis, patient.records)
    }
    yield from finding(
        patient,
        "missing-references",
        "Records that do not reference files of theirs, so that these could be deleted.",
        lacking,
        "--mend adds the references.",
        lambda id: add_references(redis, *lacking[id]),
    )
    stale = _stale_references(patient)
    yield from finding(
        patient,
        "stale-references",
        "Files that are referenced by records or jobs that are gone, and are kept for them.",
        stale,
        "--mend removes the references, and the files that nothing else needs.",
        lambda sha256: all(list(map(partial(_release, redis, sha256), stale[sha256]))),
    )
    if patient.mend and stale:
        patient.library.delete_released()


def _release(redis: Redis, sha256: str, id: str) -> bool:
    """Remove a reference, unless it is that of an active job."""

    def body(pipeline: Pipeline) -> bool:
        is_active = pipeline.hget(job_key(id), "status") in ACTIVE_STATUSES
        pipeline.multi()
        if not is_active:
            queue_release(pipeline, sha256, id)
        return not is_active

    return transact(redis, body, job_key(id))


def _stale_references(patient: Patient) -> dict[str, list[str]]:
    """Return ids that reference a blob and do not need it, by its SHA-256."""
    redis = patient.library.redis
    stale = _references(redis) - _needs(patient.records)
    if not stale:
        return {}
    # A reference is stale if it is there both before and after the records are read, and its record is not among them:
    # both are added and deleted in one transaction.
    stale &= _references(redis)
    stale -= _needs(find_records(redis))
    stale &= _references(redis)
    by_blob: dict[str, list[str]] = defaultdict(list)
    for sha256, id in sorted(stale):
        if not _is_active_job(redis, id):
            by_blob[sha256].append(id)
    return by_blob


def _references(redis: Redis) -> set[tuple[str, str]]:
    """Return all references: SHA-256 and id."""
    found: set[tuple[str, str]] = set()
    for raw in redis.scan_iter(match="faceter:blob:*:references", count=1000):
        match = _REFERENCES.fullmatch(raw.decode())
        if match is not None:
            members = cast(set[bytes], redis.smembers(references_key(match[1])))
            found.update((match[1], id.decode()) for id in members)
    return found


def _needs(records: Iterable[FoundRecord]) -> set[tuple[str, str]]:
    """Return what records need: SHA-256 and id."""
    return {(sha256, found.at.id) for found in records for sha256 in found.files()}


def _is_active_job(redis: Redis, id: str) -> bool:
    """Return whether an id is that of an active job, whose checkpoint and parts are referenced by it."""
    return id.startswith(f"{JOB_PREFIX}_") and redis.hget(job_key(id), "status") in ACTIVE_STATUSES


def check_blobs(patient: Patient) -> Iterator[Finding]:
    """Check that the files of records and active jobs are in the blob store, and whole; find orphans."""
    library, redis = patient.library, patient.library.redis
    listed = {blob.sha256: blob.bytes for blob in library.blobs.listed()}
    missing: dict[str, list[str]] = defaultdict(list)
    damaged: dict[str, list[str]] = defaultdict(list)
    for id, key, sha256, size in _needed(patient):
        actual = listed.get(sha256)
        if actual is None:
            if not library.blobs.exists(sha256) and redis.exists(key):
                missing[sha256].append(id)
        elif (size is not None and actual != size) or (patient.deep and not _intact(patient, sha256)):
            damaged[sha256].append(id)
    restore = "Restore them from a backup; or delete what names them, and upload it or run its job again."
    yield from finding(
        patient,
        "missing-files",
        "Files of records or jobs that are not in the blob store.",
        _named(missing),
        restore,
    )
    yield from finding(
        patient,
        "damaged-files",
        "Files in the blob store with another size or content than when they were stored.",
        _named(damaged),
        restore,
    )
    if not owns(redis, library.blobs):
        yield from finding(
            patient,
            "foreign-blob-store",
            "The blob store belongs to another Redis, so that nobody looks for orphans in it.",
            [patient.settings.resolved_blob_url],
            "Check FACETER_REDIS_URL and FACETER_BLOB_URL. If no other service has its files there, delete the file "
            "'owner' in the blob store.",
        )
        return
    yield from finding(
        patient,
        "orphaned-files",
        "Files that nothing needs, stored more than a day ago.",
        [blob.sha256 for blob in find_orphans(redis, library.blobs)],
        "--mend deletes them; the service does so about once a day.",
        lambda sha256: library.delete_orphans([sha256]),
    )


def _needed(patient: Patient) -> Iterator[tuple[str, str, str, int | None]]:
    for found in patient.records:
        if found.record is not None:
            for sha256, size in found.files().items():
                yield found.at.id, found.at.key, sha256, size
    redis = patient.library.redis
    for sha256, id in sorted(_references(redis)):
        if _is_active_job(redis, id):
            yield id, job_key(id), sha256, None


def _intact(patient: Patient, sha256: str) -> bool:
    try:
        return patient.library.blobs.is_intact(sha256)
    except FaceterError as error:
        if error.kind is not ProblemKind.BLOB_MISSING:
            raise
        return True  # deleted meanwhile


def _named(files: dict[str, list[str]]) -> list[str]:
    return [f"{sha256} of {', '.join(sorted(ids))}" for sha256, ids in sorted(files.items())]

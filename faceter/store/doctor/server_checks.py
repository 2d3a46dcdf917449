"""Checks of Redis as the server is set up, and of this host's disk."""

import os
import shutil
from collections.abc import Iterator
from typing import Any, Final

from faceter.store.doctor.findings import Finding, Patient, finding
from faceter.store.job_records import active_ids
from faceter.store.reserve import Reserve
from faceter.store.schema import SCHEMA_VERSION, SchemaVersionError, migrate, stored_version
from faceter.store.scratch_folders import job_folders, left_over

_MOST_USED: Final = 0.9
_LEAST_FREE: Final = 0.02


def check_server(patient: Patient) -> Iterator[Finding]:
    """Check that Redis keeps what it is told, and that its data is of this version."""
    redis = patient.library.redis
    info: dict[str, Any] = redis.info()
    settings = "Change it in the configuration of Redis; see the guide to running on several hosts."
    if not info.get("aof_enabled"):
        yield from finding(patient, "no-append-only-file", "Redis keeps no append-only file.", ["appendonly"], settings)
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        yield from finding(patient, "eviction", "Redis drops data when its memory is full.", [policy], settings)
    failed = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if info.get(name, "ok") != "ok"
    ]
    yield from finding(
        patient,
        "writes-failed",
        "The last write of Redis to its disk failed.",
        failed,
        "See its log; most often the disk is full.",
    )
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if limit and used > _MOST_USED * limit:
        yield from finding(
            patient,
            "little-memory",
            "Redis has used nearly all of its memory.",
            [f"{used} of {limit} bytes"],
            "Raise maxmemory, or delete what is no longer needed.",
        )


def check_schema_version(patient: Patient) -> Iterator[Finding]:
    """Check that the stored data is of this version."""
    redis = patient.library.redis
    try:
        version = stored_version(redis)
    except SchemaVersionError as error:
        yield from finding(patient, "schema-version", "Data of a version that cannot be read.", ["none"], str(error))
        return
    if version is not None and version > SCHEMA_VERSION:
        yield from finding(
            patient,
            "schema-version",
            f"The data is of a later version than this Faceter reads, which is {SCHEMA_VERSION}.",
            [str(version)],
            "Use the Faceter that wrote it, or a later one.",
        )
    elif version is not None and version < SCHEMA_VERSION:
        yield from finding(
            patient,
            "schema-version",
            f"The data is of an earlier version than {SCHEMA_VERSION}.",
            [str(version)],
            "--mend migrates it; so does the next start of the service.",
            lambda _: migrate(redis),
        )


def check_host(patient: Patient) -> Iterator[Finding]:
    """Check what this host's disk has: room, and folders of jobs that have ended."""
    settings = patient.settings
    folders = job_folders(settings)  # before the active jobs, so that a folder of a new job is not among them
    ended = {str(path): path for path in left_over(folders, active_ids(patient.library.redis))}

    def remove(name: str) -> bool:
        shutil.rmtree(ended[name], ignore_errors=True)
        return not ended[name].exists()

    yield from finding(
        patient,
        "scratch-folders",
        "Scratch folders of jobs that have ended.",
        ended,
        "--mend deletes them; a worker on this host does so too.",
        remove,
    )
    if not settings.data_dir.is_dir():
        return
    disk = os.statvfs(settings.data_dir)
    total, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
    reserve = settings.data_dir / "reserve"
    is_used_up = settings.reserve_bytes > 0 and not reserve.exists()
    if free < max(_LEAST_FREE * total, settings.reserve_bytes):
        yield from finding(
            patient,
            "little-room",
            f"The disk of the data directory is nearly full{', and the room kept back is used up' * is_used_up}.",
            [f"{free} of {total} bytes free"],
            "Delete models and datasets that are no longer needed, or move the data to a larger disk.",
        )
    elif patient.mend:
        Reserve(reserve, settings.reserve_bytes).keep()

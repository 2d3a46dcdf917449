"""Schema version of the stored data: older data is migrated, newer data is refused."""

from typing import Final, cast

from redis import Redis
from redis.exceptions import LockNotOwnedError
from redis.lock import Lock

from faceter.contracts.references import ResourceName
from faceter.store.connection import store_errors
from faceter.store.migrations import MIGRATIONS, Migration

SCHEMA_VERSION: Final = MIGRATIONS[-1].version
"""Version of the stored data that this Faceter reads. Incompatible changes increment it and come with a migration."""

SCHEMA_KEY: Final = "faceter:schema"
"""Redis key of the version of the stored data."""

_LOCK_SECONDS: Final = 60


class SchemaVersionError(Exception):
    """The stored data has a schema version that this version of Faceter cannot read."""


@store_errors()
def stored_version(redis: Redis) -> int | None:
    """Return the version of the data in Redis; None for an empty store.

    Raises:
        SchemaVersionError: If it was written before API v1, or its version is no number.
    """
    stored = cast(bytes | None, redis.get(SCHEMA_KEY))
    if stored is None:
        if redis.exists(*(f"faceter:{resource}" for resource in ResourceName)):
            raise SchemaVersionError(
                "The data was written by a version of Faceter before API v1, which this version cannot read. Start "
                "with a new data directory (FACETER_DATA_DIR) or an empty Redis; see CHANGELOG.md for the changes."
            )
        return None
    if not stored.isdigit():
        raise SchemaVersionError(
            f"The data has schema version {stored.decode(errors='replace')!r}, which is none. Restore a backup."
        )
    return int(stored)


@store_errors()
def migrate(redis: Redis) -> list[Migration]:
    """Bring the data in Redis to this schema version; an empty store is set to it.

    Processes that start together take turns: one migrates, the others wait. A migration that was killed is run again
    by the next one.

    Returns:
        The migrations that were run.

    Raises:
        SchemaVersionError: If the data is of a later version, or was written before API v1.
        FaceterError: `STORE_UNAVAILABLE`.
    """
    if not _pending(redis):
        return []
    lock = Lock(redis, f"{SCHEMA_KEY}:lock", timeout=_LOCK_SECONDS)
    done: list[Migration] = []
    try:
        with lock:
            for migration in _pending(redis):
                for _ in migration.steps(redis):
                    lock.reacquire()
                redis.set(SCHEMA_KEY, str(migration.version))
                done.append(migration)
    except LockNotOwnedError:
        # This process was stopped for so long that another one has taken over; it repeats what is left.
        return [*done, *migrate(redis)]
    return done


def readable_version(redis: Redis) -> int:
    """Return the version of the data in Redis; an empty store is set to the present one.

    Raises:
        SchemaVersionError: If the data is of a later version, or was written before API v1.
    """
    version = stored_version(redis)
    if version is None:
        redis.set(SCHEMA_KEY, str(SCHEMA_VERSION), nx=True)
        return SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"The data has schema version {version}, and this Faceter reads versions up to {SCHEMA_VERSION}. Run the "
            "version that wrote it, or a later one; or restore a backup made before."
        )
    return version


def _pending(redis: Redis) -> list[Migration]:
    version = readable_version(redis)
    return [migration for migration in MIGRATIONS if migration.version > version]

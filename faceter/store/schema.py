"""Schema version of the stored data: data of another version is refused."""

from typing import Final, cast

from redis import Redis

from faceter.contracts.references import ResourceName
from faceter.store.connection import store_errors

SCHEMA_VERSION: Final = "1"
"""Version of the records of API v1. Incompatible changes increment it and come with a migration."""

_KEY: Final = "faceter:schema"


class SchemaVersionError(Exception):
    """The stored data has a schema version that this version of Faceter cannot read."""


@store_errors()
def check_schema(redis: Redis) -> None:
    """Check that the data in Redis has this schema version; an empty store is set to it.

    Raises:
        SchemaVersionError: If the version differs.
        FaceterError: `STORE_UNAVAILABLE`.
    """
    stored = cast(bytes | None, redis.get(_KEY))
    if stored is None:
        if redis.exists(*(f"faceter:{resource}" for resource in ResourceName)):
            raise SchemaVersionError(
                "The data was written by a version of Faceter before API v1, which this version cannot read. Start "
                "with a new data directory (FACETER_DATA_DIR) or an empty Redis; see CHANGELOG.md for the changes."
            )
        redis.set(_KEY, SCHEMA_VERSION, nx=True)
    elif stored.decode() != SCHEMA_VERSION:
        raise SchemaVersionError(
            f"The data has schema version {stored.decode()}, and this Faceter reads version {SCHEMA_VERSION}. Run "
            "the version that wrote it, or start with a new data directory (FACETER_DATA_DIR) or an empty Redis."
        )

"""The version of the stored data, seen to when a process of the service starts."""

import os
import signal
import sys
import threading
import time

import typer
from redis import Redis

from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.store.connection import connect
from faceter.store.schema import SchemaVersionError, migrate

_RETRY_SECONDS = 0.5


def prepare_data(settings: Settings) -> None:
    """Migrate data of an earlier version.

    While the store is away or loads its data, the service starts without it: then this goes on in a thread, which ends
    the process if the data turns out to be of a later version.

    Raises:
        SchemaVersionError: If the data is of a later version, or was written before API v1.
        ValueError: If the URL of Redis is not of a known form.
    """
    redis = connect(settings)
    if _migrated(redis):
        redis.close()
    else:
        threading.Thread(target=_migrate_later, args=(redis,), daemon=True, name="migration").start()


def _migrated(redis: Redis) -> bool:
    try:
        for migration in migrate(redis):
            typer.echo(f"The data now has schema version {migration.version}: {migration.about}.")
    except FaceterError:
        return False
    return True


def _migrate_later(redis: Redis) -> None:
    try:
        with redis:
            while not _migrated(redis):
                time.sleep(_RETRY_SECONDS)
    except SchemaVersionError as error:
        typer.echo(f"faceter: {error}", err=True)
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGTERM)

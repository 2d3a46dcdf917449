"""The store of a command that works on the data itself: that of a running service, or one started for the command."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faceter.contracts.settings import Settings
from faceter.processes.data_dir_lock import locked_data_dir, make_data_dir
from faceter.processes.errors import SupervisorError
from faceter.store.connection import UNREACHABLE, connect
from faceter.store.library import Library


@dataclass(frozen=True)
class OpenedStore:
    """A store that can be worked on."""

    library: Library
    """Its records and files."""
    alone: bool
    """Whether its server was started for this, so that no service uses it."""


@contextmanager
def opened_store(settings: Settings, *, new: bool = False) -> Iterator[OpenedStore]:
    """Open the store of ``FACETER_REDIS_URL``, of a running ``faceter up``, or of its data directory while it is down.

    Args:
        settings: Where the data is.
        new: Whether the store is to be filled: no service may run on it, and the data directory may be missing.

    Raises:
        SupervisorError: If there is no data, a service uses it that must not, or the embedded server does not start.
        ValueError: If the URL of Redis is not of a known form.
    """
    if settings.redis_url is not None or (not new and _responds(settings)):
        with Library(settings, patient=True) as library:
            yield OpenedStore(library, alone=False)
        return
    if new:
        make_data_dir(settings.data_dir)
    elif not settings.valkey_dir.is_dir():
        raise SupervisorError(
            f"There is no data in {settings.data_dir.absolute()}. Name its folder by --data-dir or FACETER_DATA_DIR, "
            "or its Redis by FACETER_REDIS_URL."
        )
    with locked_data_dir(settings.data_dir), _embedded(settings), Library(settings, patient=True) as library:
        yield OpenedStore(library, alone=True)


@contextmanager
def _embedded(settings: Settings) -> Iterator[None]:
    # Not installed with the extra `worker`, which has no embedded server.
    from faceter.processes.embedded_store import EmbeddedValkey, EmbeddedValkeyError

    try:
        server = EmbeddedValkey(settings.valkey_dir).start()
    except EmbeddedValkeyError as error:
        raise SupervisorError(str(error)) from error
    try:
        yield
    finally:
        server.stop()


def _responds(settings: Settings) -> bool:
    with connect(settings) as redis:
        try:
            return bool(redis.ping())
        except UNREACHABLE:
            return False

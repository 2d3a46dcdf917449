"""The embedded Valkey as a part of the service: restarted when it ends."""

import time
from pathlib import Path

from faceter.processes.embedded_store import EmbeddedValkey, EmbeddedValkeyError, Startup
from faceter.processes.service_process import exit_reason, restart_delay

_LOCK_SECONDS = 2.0


class SupervisedStore:
    """An embedded Valkey that is started again from its append-only file whenever it ends.

    It is never given up: it holds what the service has acknowledged. While it loads its data the service refuses
    requests, however long that takes.

    Args:
        directory: As of `EmbeddedValkey`.
    """

    def __init__(self, directory: Path) -> None:
        self.valkey = EmbeddedValkey(directory)
        self._failures = 0
        self._restart_at: float | None = None
        self._served = False

    def start(self) -> None:
        """Start the server.

        Raises:
            EmbeddedValkeyError: If it does not start.
        """
        self.valkey.start(until=Startup.RESPONDING)

    def stop(self) -> None:
        """Shut the server down."""
        self.valkey.stop()

    def restart_if_ended(self) -> str | None:
        """Start the server again if it has ended and its delay is over; return a line on what happened, if anything."""
        now = time.monotonic()
        status = self.valkey.poll()
        if status is not None:
            self.valkey.stop()
            reason = "" if self._served else f" {self.valkey.log_tail()}\n"
            delay = self._next_delay()
            self._restart_at = now + delay
            again = f"Starting it again from its append-only file in {delay:g} s."
            return f"The embedded Valkey ended ({exit_reason(status)}).{reason} {again}"
        if self._restart_at is None:
            self._served = self._served or self.valkey.responds()
        elif now >= self._restart_at:
            self._restart_at = None
            try:
                self.valkey.start(_LOCK_SECONDS, Startup.LAUNCHED)
            except EmbeddedValkeyError as error:
                delay = self._next_delay()
                self._restart_at = time.monotonic() + delay
                return f"{error} Trying again in {delay:g} s."
        return None

    def _next_delay(self) -> float:
        self._failures = 0 if self._served else self._failures + 1
        self._served = False
        return restart_delay(self._failures)

"""Readiness of a child process, which it reports to its parent through a pipe."""

import os
from contextlib import suppress
from typing import Final

READY_VARIABLE: Final = "FACETER_READY_FD"
"""Environment variable with the number of the pipe's descriptor."""


def announce_ready() -> None:
    """Report that this process works, if its parent asked for that; only the first call has an effect."""
    descriptor = os.environ.pop(READY_VARIABLE, None)
    if descriptor is None:
        return
    with suppress(OSError, ValueError):
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))

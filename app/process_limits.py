"""The memory of an API process, limited by the kernel: the last net under the limits of single requests."""

import contextlib
import resource
from typing import Final

import structlog

from faceter.contracts.settings import Settings
from faceter.host import memory_bytes

_REST_BYTES: Final = 4 * 2**30
"""For the program itself, uploads, and work beside predictions."""
_SHARE: Final = 0.8
"""Of the host's memory, at most."""

_log = structlog.get_logger("app.process_limits")


def limit_process_memory(settings: Settings) -> None:
    """Let allocations fail in this process, rather than the kernel end other ones of the host.

    The limit is the sum of the settings for predictions, loaded models and waiting bodies, and 4 GiB; with several
    processes each has its share of the host at most.
    """
    wanted = settings.bytes_of_predictions + settings.session_cache_bytes + settings.max_waiting_bytes + _REST_BYTES
    limit = min(wanted, int(_SHARE * memory_bytes() / settings.api_processes))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        _log.debug("memory is limited", bytes=limit)

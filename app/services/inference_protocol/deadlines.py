"""Deadlines of inference requests: the parameter `timeout` of Triton's scheduling policy."""

from collections.abc import Iterable
from typing import Any, Final

from faceter.contracts.errors import FaceterError, ProblemKind

TIMEOUT: Final = "timeout"
"""Name of the parameter."""

_LONGEST_SECONDS: Final = 86400.0


def seconds_of_timeout(timeout: Any) -> float | None:
    """Return the seconds after which an answer is of no use; None without a deadline.

    Args:
        timeout: Value of the parameter: microseconds, where 0 is no deadline; None if it was not sent.

    Raises:
        FaceterError: `INVALID_REQUEST`.
    """
    if timeout is None:
        return None
    if type(timeout) is not int or timeout < 0:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            "The parameter `timeout` must be a number of microseconds, without a fraction; 0 is no deadline.",
        )
    return timeout / 1e6 if timeout else None


def earliest(deadlines: Iterable[float | None]) -> float | None:
    """Return the first of the deadlines of a request, seconds; None if there is none within a day."""
    return min((seconds for seconds in deadlines if seconds is not None and seconds <= _LONGEST_SECONDS), default=None)

"""Two lanes for the checks of uploaded models: most are done in a second, and do not wait for those that are not.

A small file is first checked within narrow limits. What exceeds them is checked again within the full ones, of which
few run at a time. So neither a hostile upload nor a very large one delays a small one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Final

from app.services.models.check_process import CheckEndedError, CheckLimits, checked
from app.services.models.checking import ModelUpload
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelDescription
from faceter.contracts.settings import Settings

QUICK_FILE_BYTES: Final = 32 * 2**20
"""Largest file that is first checked within narrow limits."""
QUICK_CHECKS: Final = 16
"""How many uploads of such files are handled at a time."""

_RUNNING_QUICK: Final = 4
_RUNNING_LONG: Final = 2
_MOST_LONG: Final = 8
"""How many checks within the full limits run or wait."""
_NARROW: Final = CheckLimits(bytes=2 * 2**30, seconds=20.0, cpu_seconds=4)
_LONG_NICENESS: Final = 10
_RETRY_SECONDS: Final = 30


class CheckLanes:
    """Checks uploaded models; several threads may call it.

    Args:
        settings: Full limits: `check_bytes` and `check_seconds`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._full = CheckLimits(settings.check_bytes, settings.check_seconds, niceness=_LONG_NICENESS)
        self._quick = BoundedSemaphore(_RUNNING_QUICK)
        self._long = BoundedSemaphore(_RUNNING_LONG)
        self._admitted = BoundedSemaphore(_MOST_LONG)

    def checked(self, upload: ModelUpload) -> ModelDescription:
        """Return what is understood of an upload; see `app.services.models.checking.described`.

        Raises:
            FaceterError: As `described`; `MODEL_NOT_RUNNABLE` also if the limits are reached or the model crashes;
                `OVERLOADED`, with `retry_after`, if too many long checks wait.
        """
        if len(upload.content) <= QUICK_FILE_BYTES:
            with self._quick:
                try:
                    return checked(upload, self._settings, _NARROW)
                except CheckEndedError:
                    pass  # checked again within the full limits
                except FaceterError as error:
                    # What has no memory left may be said by ONNX Runtime.
                    if error.kind is not ProblemKind.MODEL_NOT_RUNNABLE:
                        raise
        with self._long_check():
            try:
                return checked(upload, self._settings, self._full)
            except CheckEndedError as ended:
                raise ended.error from ended

    @contextmanager
    def _long_check(self) -> Iterator[None]:
        if not self._admitted.acquire(blocking=False):
            raise FaceterError(
                ProblemKind.OVERLOADED,
                f"{_MOST_LONG} models are being checked that take long. Try again later.",
                retry_after=_RETRY_SECONDS,
            )
        try:
            with self._long:
                yield
        finally:
            self._admitted.release()

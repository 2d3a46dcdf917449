"""Thread pool for decoding and inference, so that neither blocks the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt

T = TypeVar("T")

_RETRY_SECONDS: Final = 1


class InferencePool:
    """A thread pool with a bounded queue; bound to one event loop.

    Args:
        workers: Number of threads.
        waiting: Maximum number of waiting calls; further ones are refused.
        seconds: Time limit of a call, after which it is interrupted.
    """

    def __init__(self, *, workers: int, waiting: int, seconds: float) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._max_calls = workers + waiting
        self._seconds = seconds
        self._calls = 0
        self._running: set[Interrupt] = set()

    @property
    def calls(self) -> int:
        """Number of calls running or waiting."""
        return self._calls

    async def run(self, function: Callable[[Interrupt], T], seconds: float | None = None) -> T:
        """Call ``function`` in a thread and return its result.

        Args:
            function: Called with an interrupt to pass to the engine, which is triggered at the time limit.
            seconds: Time limit; that of the pool by default.

        Raises:
            FaceterError: `OVERLOADED`, with `retry_after`, if too many calls are waiting; and the errors of the call.
        """
        if self._calls >= self._max_calls:
            raise FaceterError(
                ProblemKind.OVERLOADED,
                f"{self._calls} predictions are running or waiting, the limit of this server. Try again shortly.",
                retry_after=_RETRY_SECONDS,
            )
        self._calls += 1
        loop, interrupt = asyncio.get_running_loop(), Interrupt()
        timers: list[asyncio.TimerHandle] = []

        def start_timer() -> None:
            timers.append(loop.call_later(self._seconds if seconds is None else seconds, interrupt.trigger))

        def call() -> T:
            self._running.add(interrupt)
            loop.call_soon_threadsafe(start_timer)
            try:
                return function(interrupt)
            finally:
                self._running.discard(interrupt)

        try:
            return await loop.run_in_executor(self._threads, call)
        finally:
            self._calls -= 1
            for timer in timers:
                timer.cancel()

    def close(self) -> None:
        """Interrupt running calls, cancel waiting ones, and wait until all have ended."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for interrupt in list(self._running):
            interrupt.trigger()
        self._threads.shutdown(wait=True)

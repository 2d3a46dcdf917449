"""Threads for decoding and inference, so that the event loop never waits for either."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt

T = TypeVar("T")

_RETRY_SECONDS: Final = 1


class InferencePool:
    """A fixed number of threads with a short queue; belongs to one event loop.

    Args:
        workers: Calls running at the same time.
        waiting: Calls that may wait for a thread; one more is refused.
        seconds: Longest a call may run before it is interrupted.
    """

    def __init__(self, *, workers: int, waiting: int, seconds: float) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="inference")
        self._most = workers + waiting
        self._seconds = seconds
        self._calls = 0
        self._running: set[Interrupt] = set()

    @property
    def calls(self) -> int:
        """Calls running or waiting."""
        return self._calls

    async def run(self, function: Callable[[Interrupt], T], seconds: float | None = None) -> T:
        """Return what ``function`` returns, called in a thread.

        Args:
            function: Given an interrupt, which it passes to the engine; triggered when its time is up.
            seconds: Its time; that of the pool if not given.

        Raises:
            FaceterError: `OVERLOADED`, with `retry_after`, if too many calls are waiting; and what the call raises.
        """
        if self._calls >= self._most:
            raise FaceterError(
                ProblemKind.OVERLOADED,
                f"{self._calls} predictions are running or waiting, as many as this server takes. Try again shortly.",
                retry_after=_RETRY_SECONDS,
            )
        self._calls += 1
        loop, interrupt = asyncio.get_running_loop(), Interrupt()
        timers: list[asyncio.TimerHandle] = []

        def start_clock() -> None:
            timers.append(loop.call_later(self._seconds if seconds is None else seconds, interrupt.trigger))

        def call() -> T:
            self._running.add(interrupt)
            loop.call_soon_threadsafe(start_clock)
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
        """Interrupt the calls that run, drop those that wait, and return when all are over."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for interrupt in list(self._running):
            interrupt.trigger()
        self._threads.shutdown(wait=True)

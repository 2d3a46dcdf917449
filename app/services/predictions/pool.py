"""Threads for decoding and inference, with a bounded queue for each model."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from app.services.predictions.fair_queue import FairQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt

T = TypeVar("T")

URGENCY: Final = 3
"""Default urgency of a request, as in RFC 9218."""
_LONGEST_RETRY_SECONDS: Final = 30
_SMOOTHING: Final = 0.1


class ClientLeftError(Exception):
    """The client left before its request was answered."""


@dataclass(frozen=True)
class Demand:
    """What a request asks of the pool.

    Args:
        key: The model; requests of one model share a queue, and models take turns.
        urgency: 0, the most urgent, to 7, as in RFC 9218.
        bytes: Memory that the request occupies while it waits.
        deadline: Seconds after which the answer is of no use; None if it always is.
        left: Returns when the client has left; None if that is not watched.
    """

    key: str = ""
    urgency: int = URGENCY
    bytes: int = 0
    deadline: float | None = None
    left: Callable[[], Coroutine[Any, Any, None]] | None = None


@dataclass(frozen=True)
class PoolLimits:
    """Limits of a pool.

    Args:
        workers: Calls that run at the same time.
        waiting: Calls that wait, of all models.
        waiting_per_model: Calls of one model that wait.
        waiting_bytes: Memory of all calls that wait.
        seconds: Time limit of a call, after which it is interrupted.
    """

    workers: int
    waiting: int
    waiting_per_model: int
    waiting_bytes: int
    seconds: float


@dataclass
class PoolStatistics:
    """State and counters of a pool."""

    running: int = 0
    waiting: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Calls that were not run, by reason: ``model_full``, ``server_full``, ``deadline`` and ``client_left``."""


@dataclass(eq=False)
class _Call:
    """A call that waits or runs."""

    function: Callable[[Interrupt], Any]
    demand: Demand
    seconds: float
    result: asyncio.Future[Any]
    queued_at: float
    interrupt: Interrupt = field(default_factory=Interrupt)
    started: bool = False


class InferencePool:
    """Threads that models share in turn, with bounded queues; bound to one event loop.

    Args:
        limits: Limits of running and waiting calls.
        observe_wait: Called with the seconds that each call waited.
    """

    def __init__(self, limits: PoolLimits, observe_wait: Callable[[float], None] = lambda _: None) -> None:
        self._threads = ThreadPoolExecutor(limits.workers, thread_name_prefix="inference")
        self._limits = limits
        self._observe_wait = observe_wait
        self._queue: FairQueue[_Call] = FairQueue()
        self._running: set[_Call] = set()
        self._running_by_key: Counter[str] = Counter()
        self._instances: dict[str, int] = {}
        self._waiting_bytes = 0
        self._seconds_per_call = 0.0
        self._refused: Counter[str] = Counter()
        self._closed = False

    @property
    def calls(self) -> int:
        """Number of calls running or waiting."""
        return len(self._running) + len(self._queue)

    def statistics(self) -> PoolStatistics:
        """Return the current state and the counters."""
        return PoolStatistics(len(self._running), len(self._queue), Counter(self._refused))

    def set_instances(self, key: str, instances: int | None) -> None:
        """Set how many calls of a model may run at the same time; None for as many as there are threads. From any thread."""
        if instances is None:
            self._instances.pop(key, None)
        else:
            self._instances[key] = instances

    async def run(
        self, function: Callable[[Interrupt], T], seconds: float | None = None, demand: Demand | None = None
    ) -> T:
        """Call ``function`` in a thread and return its result.

        Args:
            function: Called with an interrupt to pass to the engine, which is triggered at the time limit, at the
                deadline, or when the client leaves.
            seconds: Time limit from the start of the call; that of the pool by default.
            demand: What the request asks for.

        Raises:
            FaceterError: `TOO_MANY_REQUESTS` if the model's queue is full, `OVERLOADED` if the server's is, both with
                `retry_after`; `DEADLINE_EXCEEDED`; and the errors of the call.
            ClientLeftError: If the client left.
        """
        demand = demand or Demand()
        self._check_room(demand)
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        call = _Call(function, demand, seconds or self._limits.seconds, result, time.perf_counter())
        self._waiting_bytes += demand.bytes
        self._queue.add(demand.key, demand.urgency, call)
        self._start_waiting()
        watched = demand.left is not None or demand.deadline is not None
        outcome: T = await (self._watched(call) if watched else self._uncancelled(call))
        return outcome

    def close(self) -> None:
        """Interrupt running calls, cancel waiting ones, and wait until all have ended; from any thread."""
        self._closed = True
        while (waiting := self._queue.pop()) is not None:
            waiting.result.get_loop().call_soon_threadsafe(waiting.result.cancel)
        for call in list(self._running):
            call.interrupt.trigger()
        self._threads.shutdown(wait=True)

    async def _uncancelled(self, call: _Call) -> Any:
        try:
            return await call.result
        except asyncio.CancelledError:
            self._drop(call)
            raise

    async def _watched(self, call: _Call) -> Any:
        """Wait for the result of a call, for its deadline or until its client leaves."""
        left = asyncio.ensure_future(call.demand.left()) if call.demand.left else None
        try:
            futures = [call.result] if left is None else [call.result, left]
            await asyncio.wait(futures, timeout=call.demand.deadline, return_when=asyncio.FIRST_COMPLETED)
            if call.result.done():
                return call.result.result()
            self._drop(call)
            if left is not None and left.done():
                self._refused["client_left"] += 1
                raise ClientLeftError
            self._refused["deadline"] += 1
            raise FaceterError(
                ProblemKind.DEADLINE_EXCEEDED,
                f"The request was not finished within the {call.demand.deadline:g} seconds it allowed: it was "
                f"{'running' if call.started else 'waiting'}. Allow more, or send it when the server is less busy.",
                retry_after=self._retry_after(),
            )
        except asyncio.CancelledError:
            self._drop(call)
            raise
        finally:
            if left is not None:
                left.cancel()

    def _check_room(self, demand: Demand) -> None:
        waiting, key = len(self._queue), demand.key
        free = len(self._running) < self._limits.workers and not waiting
        if free:
            return
        if key and self._queue.waiting(key) >= self._limits.waiting_per_model:
            self._refused["model_full"] += 1
            raise FaceterError(
                ProblemKind.TOO_MANY_REQUESTS,
                f"{self._queue.waiting(key)} predictions of {key} are waiting, the limit of this server. Try again "
                "shortly.",
                retry_after=self._retry_after(),
            )
        if waiting >= self._limits.waiting or self._waiting_bytes + demand.bytes > self._limits.waiting_bytes:
            self._refused["server_full"] += 1
            raise FaceterError(
                ProblemKind.OVERLOADED,
                f"{self.calls} predictions are running or waiting, the limit of this server. Try again shortly.",
                retry_after=self._retry_after(),
            )

    def _retry_after(self) -> int:
        """Return the seconds in which the present queue is likely to be done, from 1 to 30."""
        seconds = self._seconds_per_call * len(self._queue) / self._limits.workers
        return min(max(1, math.ceil(seconds)), _LONGEST_RETRY_SECONDS)

    def _start_waiting(self) -> None:
        while len(self._running) < self._limits.workers and not self._closed:
            call = self._queue.pop(self._has_instance)
            if call is None:
                return
            self._waiting_bytes -= call.demand.bytes
            self._start(call)

    def _has_instance(self, key: str) -> bool:
        return self._running_by_key[key] < self._instances.get(key, self._limits.workers)

    def _start(self, call: _Call) -> None:
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        self._observe_wait(began - call.queued_at)
        call.started = True
        self._running.add(call)
        self._running_by_key[call.demand.key] += 1
        timer = loop.call_later(call.seconds, call.interrupt.trigger)
        task = loop.run_in_executor(self._threads, call.function, call.interrupt)

        def ended(done: asyncio.Future[Any]) -> None:
            timer.cancel()
            self._running.discard(call)
            self._running_by_key[call.demand.key] -= 1
            taken = time.perf_counter() - began
            self._seconds_per_call += _SMOOTHING * (taken - self._seconds_per_call)
            self._start_waiting()
            _settle(call.result, done)

        task.add_done_callback(ended)

    def _drop(self, call: _Call) -> None:
        """Interrupt a call, or take it out of the queue."""
        call.interrupt.trigger()
        call.result.cancel()
        if not call.started and self._queue.remove(call.demand.key, call.demand.urgency, call):
            self._waiting_bytes -= call.demand.bytes


def _settle(result: asyncio.Future[Any], done: asyncio.Future[Any]) -> None:
    """Give a call's outcome to who waits for it, if anyone still does."""
    if done.cancelled():
        result.cancel()
    elif (error := done.exception()) is not None:
        if not result.done():
            result.set_exception(error)
    elif not result.done():
        result.set_result(done.result())

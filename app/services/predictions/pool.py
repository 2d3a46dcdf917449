"""Threads for decoding and inference, with a bounded queue for each model."""

import asyncio
import contextlib
import contextvars
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final, TypeVar

from app.services.predictions.fair_queue import FairQueue
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt
from faceter.tracing.spans import Span, current_span

T = TypeVar("T")

URGENCY: Final = 3
"""Default urgency of a request, as in RFC 9218."""
DEADLINE_TOLERANCE_SECONDS: Final = 0.1
"""How much earlier than at its deadline by our clock a client of gRPC may leave at it by its own."""
_LONGEST_RETRY_SECONDS: Final = 30
_SMOOTHING: Final = 0.1
_WATCH_SECONDS: Final = 0.05
"""Time after which it is watched whether a client leaves; most requests are answered before."""


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
    loop: asyncio.AbstractEventLoop
    result: asyncio.Future[Any]
    queued_at: float
    context: contextvars.Context
    span: Span | None
    queued_ns: int = field(default_factory=time.time_ns)
    began_at: float = 0.0
    interrupt: Interrupt = field(default_factory=Interrupt)
    started: bool = False
    dropped: bool = False
    timer: asyncio.TimerHandle | None = None
    watches: list[asyncio.TimerHandle] = field(default_factory=list)
    watch: asyncio.Task[None] | None = None


class InferencePool:
    """Threads that models share in turn, with bounded queues; bound to one event loop.

    Args:
        limits: Limits of running and waiting calls.
        observe_wait: Called with the seconds that each call waited.
    """

    def __init__(self, limits: PoolLimits, observe_wait: Callable[[float], None] = lambda _: None) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"inference-{number}", daemon=True)
            for number in range(limits.workers)
        ]
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
        for thread in self._threads:
            thread.start()

    @property
    def calls(self) -> int:
        """Number of calls running or waiting."""
        return len(self._running) + len(self._queue)

    def statistics(self) -> PoolStatistics:
        """Return the current state and the counters."""
        return PoolStatistics(len(self._running), len(self._queue), Counter(self._refused))

    def set_instances(self, key: str, instances: int | None) -> None:
        """Set how many calls of a model may run at once, None for as many as there are threads; from any thread."""
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
        self.check_room(demand)
        loop = asyncio.get_running_loop()
        call = _Call(
            function,
            demand,
            seconds or self._limits.seconds,
            loop,
            loop.create_future(),
            time.perf_counter(),
            contextvars.copy_context(),
            current_span(),
        )
        self._waiting_bytes += demand.bytes
        self._queue.add(demand.key, demand.urgency, call)
        self._start_waiting()
        outcome: T = await self._finished(call)
        return outcome

    def limit(self, interrupt: Interrupt, seconds: float) -> None:
        """Give a running call a deadline that became known only when it ran; on the event loop.

        Args:
            interrupt: What its function was called with.
            seconds: Seconds after it was queued.
        """
        for call in self._running:
            if call.interrupt is interrupt:
                left = max(0.0, call.queued_at + seconds - time.perf_counter())
                call.watches.append(call.loop.call_later(left, self._expire, call, seconds))

    def close(self) -> None:
        """Interrupt running calls, cancel waiting ones, and wait until all have ended; from any thread."""
        self._closed = True
        while (waiting := self._queue.pop()) is not None:
            waiting.loop.call_soon_threadsafe(waiting.result.cancel)
        for call in list(self._running):
            call.interrupt.trigger()
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        """Run calls in a thread until the pool is closed."""
        while (call := self._calls.get()) is not None:
            try:
                outcome, error = call.context.run(call.function, call.interrupt), None
            except BaseException as caught:  # raised again where the result is awaited
                outcome, error = None, caught
            with contextlib.suppress(RuntimeError):  # the loop was closed
                call.loop.call_soon_threadsafe(self._ended, call, outcome, error)

    async def _finished(self, call: _Call) -> Any:
        """Wait for the result of a call, for its deadline or until its client leaves."""
        deadline = call.demand.deadline
        if call.demand.left:
            call.watches.append(call.loop.call_later(_WATCH_SECONDS, self._watch, call))
        if deadline is not None:
            call.watches.append(call.loop.call_later(deadline, self._expire, call, deadline))
        try:
            return await call.result
        except asyncio.CancelledError:
            if not self._closed:  # who waits was canceled, as gRPC does at the deadline or when its client leaves
                waited = time.perf_counter() - call.queued_at + DEADLINE_TOLERANCE_SECONDS
                self._drop(call, "deadline" if deadline is not None and waited >= deadline else "client_left")
            raise
        finally:
            for timer in call.watches:
                timer.cancel()
            if call.watch is not None:
                call.watch.cancel()

    def _watch(self, call: _Call) -> None:
        """Drop a call when its client leaves."""

        async def watch() -> None:
            assert call.demand.left is not None
            await call.demand.left()
            self._refuse(call, "client_left", ClientLeftError())

        call.watch = call.loop.create_task(watch())

    def _expire(self, call: _Call, seconds: float) -> None:
        """Drop a call at its deadline, seconds after it was queued."""
        error = FaceterError(
            ProblemKind.DEADLINE_EXCEEDED,
            f"The request was not finished within the {seconds:g} seconds it allowed: it was "
            f"{'running' if call.started else 'waiting'}. Allow more, or send it when the server is less busy.",
            retry_after=self._retry_after(),
        )
        self._refuse(call, "deadline", error)

    def _refuse(self, call: _Call, reason: str, error: Exception) -> None:
        if not call.result.done():
            call.result.set_exception(error)
            self._drop(call, reason)

    def check_room(self, demand: Demand) -> None:
        """Refuse a call for which there is no room; also of use before its body is read.

        Raises:
            FaceterError: See `run`.
        """
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
        call.began_at = time.perf_counter()
        self._observe_wait(call.began_at - call.queued_at)
        _record_wait(call)
        call.started = True
        self._running.add(call)
        self._running_by_key[call.demand.key] += 1
        call.timer = call.loop.call_later(call.seconds, call.interrupt.trigger)
        self._calls.put(call)

    def _ended(self, call: _Call, outcome: Any, error: BaseException | None) -> None:
        """Give a call's outcome to who waits for it, if anyone still does, and start the next."""
        if call.timer is not None:
            call.timer.cancel()
        self._running.discard(call)
        self._running_by_key[call.demand.key] -= 1
        taken = time.perf_counter() - call.began_at
        self._seconds_per_call += _SMOOTHING * (taken - self._seconds_per_call)
        self._start_waiting()
        if call.result.done():
            return
        if error is not None:
            call.result.set_exception(error)
        else:
            call.result.set_result(outcome)

    def _drop(self, call: _Call, reason: str) -> None:
        """Interrupt a call, or take it out of the queue; see `PoolStatistics.refused` for the reasons."""
        if call.dropped:
            return
        call.dropped = True
        self._refused[reason] += 1
        call.interrupt.trigger()
        call.result.cancel()
        if not call.started and self._queue.remove(call.demand.key, call.demand.urgency, call):
            self._waiting_bytes -= call.demand.bytes
            _record_wait(call, reason)


def _record_wait(call: _Call, error: str | None = None) -> None:
    """Export the time that a call has waited, as a part of its request's span."""
    if call.span is not None and call.span.recording:
        call.span.record("wait in queue", call.queued_ns, attributes={"faceter.model.id": call.demand.key}, error=error)

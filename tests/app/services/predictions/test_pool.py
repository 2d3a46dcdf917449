import asyncio
import threading

import pytest
import structlog

from app.services.predictions.pool import ClientLeftError, Demand, InferencePool, PoolLimits
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt


def pool_of(
    *, workers: int = 1, waiting: int = 1, per_model: int = 99, nbytes: int = 99, seconds: float = 60
) -> InferencePool:
    return InferencePool(PoolLimits(workers, waiting, per_model, nbytes, seconds))


def test_excess_requests_are_refused_and_the_others_succeed() -> None:
    async def crowd() -> list[object]:
        pool = pool_of(workers=2, waiting=3, seconds=60)
        gate = threading.Event()
        calls = [asyncio.create_task(pool.run(lambda _: gate.wait(10))) for _ in range(8)]
        await asyncio.sleep(0.05)
        assert pool.calls == 5
        gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert pool.calls == 0
        pool.close()
        return list(answers)

    answers = asyncio.run(crowd())
    refused = [answer for answer in answers if isinstance(answer, FaceterError)]
    assert answers.count(True) == 5
    assert {(error.kind, error.retry_after) for error in refused} == {(ProblemKind.OVERLOADED, 1)}


def test_a_call_is_interrupted_when_its_time_is_up() -> None:
    async def late() -> bool:
        pool = pool_of(workers=1, waiting=1, seconds=0.05)
        stopped = threading.Event()

        def work(interrupt: Interrupt) -> bool:
            with interrupt.stopping(stopped.set):
                return stopped.wait(10)

        result = await pool.run(work)
        pool.close()
        return result

    assert asyncio.run(late())


def test_time_counts_from_the_start_of_the_call_not_of_the_wait() -> None:
    async def queue() -> bool:
        pool = pool_of(workers=1, waiting=1, seconds=0.2)
        first = asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.3)))
        second = asyncio.create_task(pool.run(lambda interrupt: interrupt.triggered))
        await first
        result = await second
        pool.close()
        return result

    assert not asyncio.run(queue())


def test_errors_of_a_call_are_raised() -> None:
    async def fails() -> None:
        pool = pool_of(workers=1, waiting=0, seconds=60)

        def work(_: Interrupt) -> None:
            raise KeyError("lost")

        with pytest.raises(KeyError):
            await pool.run(work)
        assert await pool.run(lambda _: 1) == 1
        pool.close()

    asyncio.run(fails())


def test_closing_interrupts_what_runs() -> None:
    async def close() -> bool:
        pool = pool_of(workers=1, waiting=1, seconds=60)
        begun, stopped = threading.Event(), threading.Event()

        def work(interrupt: Interrupt) -> bool:
            begun.set()
            with interrupt.stopping(stopped.set):
                return stopped.wait(10)

        call = asyncio.create_task(pool.run(work))
        assert await asyncio.to_thread(begun.wait, 10)
        await asyncio.to_thread(pool.close)
        return await call

    assert asyncio.run(close())


def test_models_take_turns_and_urgent_requests_come_first() -> None:
    async def order() -> list[str]:
        pool, gate, done = pool_of(waiting=20), threading.Event(), list[str]()
        calls: list[asyncio.Task[bool] | asyncio.Task[None]] = [asyncio.create_task(pool.run(lambda _: gate.wait(10)))]
        await asyncio.sleep(0.01)
        demands = [("a", 3), ("a", 3), ("a", 3), ("b", 3), ("c", 5), ("b", 3), ("a", 0)]
        for number, (key, urgency) in enumerate(demands):
            name = f"{key}{number}"
            call = pool.run(lambda _, name=name: done.append(name), demand=Demand(key, urgency))  # type: ignore[misc]
            calls.append(asyncio.create_task(call))
            await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*calls)
        pool.close()
        return done

    assert asyncio.run(order()) == ["a6", "a0", "b3", "a1", "b5", "a2", "c4"]


def test_a_full_queue_of_one_model_refuses_it_and_no_other() -> None:
    async def crowd() -> list[ProblemKind | None]:
        pool, gate = pool_of(waiting=4, per_model=2), threading.Event()
        keys = ["a", "a", "a", "a", "b", "b", "c"]
        calls = []
        for key in keys:
            calls.append(asyncio.create_task(pool.run(lambda _: gate.wait(10), demand=Demand(key))))
            await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert dict(pool.statistics().refused) == {"model_full": 1, "server_full": 1}
        pool.close()
        return [answer.kind if isinstance(answer, FaceterError) else None for answer in answers]

    full, busy = ProblemKind.TOO_MANY_REQUESTS, ProblemKind.OVERLOADED
    assert asyncio.run(crowd()) == [None, None, None, full, None, None, busy]


def test_waiting_bodies_are_bounded_in_memory() -> None:
    async def crowd() -> list[bool]:
        pool, gate = pool_of(waiting=9, nbytes=100), threading.Event()
        calls = []
        for size in (90, 60, 60, 30):
            calls.append(asyncio.create_task(pool.run(lambda _: gate.wait(10), demand=Demand("a", bytes=size))))
            await asyncio.sleep(0)
        gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        after = await pool.run(lambda _: True, demand=Demand("a", bytes=99))
        pool.close()
        return [*(answer is True for answer in answers), after]

    assert asyncio.run(crowd()) == [True, True, False, True, True]


def test_a_model_has_as_many_runs_at_once_as_it_has_instances() -> None:
    async def peak() -> dict[str, int]:
        pool = pool_of(workers=4, waiting=40)
        pool.set_instances("a", 2)
        lock, now, most = threading.Lock(), {"a": 0, "b": 0}, {"a": 0, "b": 0}

        def work(key: str) -> None:
            with lock:
                now[key] += 1
                most[key] = max(most[key], now[key])
            threading.Event().wait(0.02)
            with lock:
                now[key] -= 1

        calls = [pool.run(lambda _, key=key: work(key), demand=Demand(key)) for key in "aaaaaabbbbbb"]  # type: ignore[misc]
        await asyncio.gather(*calls)
        pool.close()
        return most

    most = asyncio.run(peak())
    assert most["a"] == 2
    assert most["b"] > 1


@pytest.mark.parametrize("running", [True, False])
def test_a_deadline_ends_waiting_and_running(running: bool) -> None:
    async def late() -> tuple[FaceterError, bool, int]:
        pool, stopped = pool_of(waiting=5), threading.Event()

        def work(interrupt: Interrupt) -> bool:
            with interrupt.stopping(stopped.set):
                return stopped.wait(10)

        first = None if running else asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.3)))
        await asyncio.sleep(0)
        with pytest.raises(FaceterError) as caught:
            await pool.run(work, demand=Demand("a", deadline=0.05))
        if first is not None:
            await first
        await pool.run(lambda _: 1)
        calls = pool.calls
        pool.close()
        return caught.value, stopped.is_set(), calls

    error, stopped, calls = asyncio.run(late())
    assert error.kind is ProblemKind.DEADLINE_EXCEEDED
    assert ("running" if running else "waiting") in error.detail
    assert (stopped, calls) == (running, 0)


@pytest.mark.parametrize("running", [True, False])
def test_work_of_a_client_that_left_is_dropped(running: bool) -> None:
    async def leave() -> tuple[bool, int]:
        pool, stopped, began = pool_of(waiting=5), threading.Event(), threading.Event()

        async def left() -> None:
            await asyncio.sleep(0.05)

        def work(interrupt: Interrupt) -> bool:
            began.set()
            with interrupt.stopping(stopped.set):
                return stopped.wait(10)

        first = None if running else asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.2)))
        await asyncio.sleep(0)
        with pytest.raises(ClientLeftError):
            await pool.run(work, demand=Demand("a", left=left))
        if first is not None:
            await first
        await pool.run(lambda _: 1)
        pool.close()
        assert began.is_set() == running
        return stopped.is_set(), pool.statistics().refused["client_left"]

    assert asyncio.run(leave()) == (running, 1)


def test_a_deadline_that_becomes_known_late_counts_from_when_the_call_was_queued() -> None:
    async def late() -> tuple[float, str]:
        pool, loop = pool_of(waiting=5), asyncio.get_running_loop()

        def work(interrupt: Interrupt) -> bool:
            stopped = threading.Event()
            loop.call_soon_threadsafe(pool.limit, interrupt, 0.2)
            with interrupt.stopping(stopped.set):
                return stopped.wait(10)

        first = asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.15)))
        await asyncio.sleep(0)
        began = loop.time()
        with pytest.raises(FaceterError) as caught:
            await pool.run(work)
        taken = loop.time() - began
        await first
        await pool.run(lambda _: 1)
        assert pool.statistics().refused == {"deadline": 1}
        pool.close()
        return taken, caught.value.detail

    taken, detail = asyncio.run(late())
    assert taken >= 0.19
    assert "within the 0.2 seconds it allowed: it was running" in detail


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(("deadline", "reason"), [(None, "client_left"), (60, "client_left"), (0.1, "deadline")])
def test_work_of_a_canceled_task_is_dropped_and_counted(running: bool, deadline: float | None, reason: str) -> None:
    async def cancel() -> dict[str, int]:
        pool, stopped = pool_of(waiting=5), threading.Event()

        def work(interrupt: Interrupt) -> bool:
            with interrupt.stopping(stopped.set):
                return stopped.wait(10)

        first = None if running else asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.2)))
        await asyncio.sleep(0)
        call = asyncio.create_task(pool.run(work, demand=Demand("a", deadline=deadline)))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        if first is not None:
            await first
        await pool.run(lambda _: 1)
        assert stopped.is_set() == running
        counted = pool.statistics().refused
        pool.close()
        return dict(counted)

    assert asyncio.run(cancel()) == {reason: 1}


def test_a_call_has_the_log_values_of_its_request() -> None:
    async def run() -> dict[str, object]:
        pool = pool_of()
        with structlog.contextvars.bound_contextvars(request_id="mine"):
            values = await pool.run(lambda _: structlog.contextvars.get_contextvars())
        assert await pool.run(lambda _: structlog.contextvars.get_contextvars()) == {}
        pool.close()
        return values

    assert asyncio.run(run()) == {"request_id": "mine"}


def test_closing_cancels_what_waits() -> None:
    async def close() -> list[type]:
        pool = pool_of(waiting=2)
        calls = [asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.2))) for _ in range(3)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(pool.close)
        return [type(answer) for answer in await asyncio.gather(*calls, return_exceptions=True)]

    assert asyncio.run(close()) == [bool, asyncio.CancelledError, asyncio.CancelledError]

import asyncio
import threading

import pytest

from app.services.predictions.pool import InferencePool
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt


def test_excess_requests_are_refused_and_the_others_succeed() -> None:
    async def crowd() -> list[object]:
        pool = InferencePool(workers=2, waiting=3, seconds=60)
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
        pool = InferencePool(workers=1, waiting=1, seconds=0.05)
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
        pool = InferencePool(workers=1, waiting=1, seconds=0.2)
        first = asyncio.create_task(pool.run(lambda _: threading.Event().wait(0.3)))
        second = asyncio.create_task(pool.run(lambda interrupt: interrupt.triggered))
        await first
        result = await second
        pool.close()
        return result

    assert not asyncio.run(queue())


def test_errors_of_a_call_are_raised() -> None:
    async def fails() -> None:
        pool = InferencePool(workers=1, waiting=0, seconds=60)

        def work(_: Interrupt) -> None:
            raise KeyError("lost")

        with pytest.raises(KeyError):
            await pool.run(work)
        assert await pool.run(lambda _: 1) == 1
        pool.close()

    asyncio.run(fails())


def test_closing_interrupts_what_runs() -> None:
    async def close() -> bool:
        pool = InferencePool(workers=1, waiting=1, seconds=60)
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

"""Requests of several threads that run as one batch."""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from app.services.predictions.batching import BatchingModel
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from tests.end_to_end.up_process import wait_until
from tests.engines import graphs


class Gate:
    """A loaded model whose runs wait until they are let through, and that fails on negative values."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._loaded = loaded
        self.inputs, self.outputs, self.bytes = loaded.inputs, loaded.outputs, loaded.bytes
        self.probability_outputs = loaded.probability_outputs
        self.substitutes_float32 = False
        self.open = threading.Event()
        self.begun: list[int] = []
        self.runs: list[int] = []

    def run(
        self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None, *, interrupt: Interrupt | None = None
    ) -> dict[str, Array]:
        self.begun.append(len(inputs["a"]))
        self.open.wait(10)
        self.runs.append(len(inputs["a"]))
        if (inputs["a"] < 0).any():
            raise FaceterError(ProblemKind.INFERENCE_FAILED, "negative")
        return self._loaded.run(inputs, outputs)

    def close(self) -> None:
        self._loaded.close()


def gate() -> Gate:
    content = graphs.model(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        {name: (TensorProto.FLOAT, ["n", "m"]) for name in ("a", "b")},
        {"sum": (TensorProto.FLOAT, ["n", "m"])},
    )
    return Gate(OnnxRuntimeEngine().load(content, threads=1))


def request(value: float, rows: int = 1, columns: int = 2) -> dict[str, Array]:
    a = np.full((rows, columns), value, np.float32)
    return {"a": a, "b": 10 * a}


def answers(model: BatchingModel, behind: Gate, requests: Sequence[dict[str, Array]]) -> list[Array | FaceterError]:
    """Run requests at once: the first runs while the others arrive."""

    def run(inputs: dict[str, Array]) -> Array | FaceterError:
        try:
            return model.run(inputs)["sum"]
        except FaceterError as error:
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        first = pool.submit(run, requests[0])
        threading.Event().wait(0.05)
        others = [pool.submit(run, inputs) for inputs in requests[1:]]
        threading.Event().wait(0.05)
        behind.open.set()
        return [item.result(20) for item in (first, *others)]


def test_requests_that_wait_run_together_and_each_gets_its_own_answer() -> None:
    behind, sizes = gate(), list[int]()
    model = BatchingModel(behind, 4, observe=sizes.append)
    found = answers(model, behind, [request(value) for value in range(6)])
    for value, sums in enumerate(found):
        assert isinstance(sums, np.ndarray)
        assert np.array_equal(sums, np.full((1, 2), 11 * value))
    assert behind.runs == sizes == [1, 4, 1]


def test_a_request_that_fails_fails_no_other() -> None:
    behind = gate()
    found = answers(BatchingModel(behind, 8), behind, [request(value) for value in (1, 2, -3, 4)])
    assert isinstance(found[2], FaceterError)
    for index, value in ((0, 1), (1, 2), (3, 4)):
        sums = found[index]
        assert isinstance(sums, np.ndarray)
        assert np.array_equal(sums, np.full((1, 2), 11 * value))
    assert behind.runs == [1, 3, 1, 1, 1]


def test_requests_of_other_shapes_or_outputs_run_apart() -> None:
    behind = gate()
    found = answers(BatchingModel(behind, 8), behind, [request(1), request(2, 2), request(3, 1, 5), request(4)])
    assert [sums.shape for sums in found if isinstance(sums, np.ndarray)] == [(1, 2), (2, 2), (1, 5), (1, 2)]
    assert behind.runs == [1, 3, 1]


def test_a_request_as_large_as_a_batch_runs_alone_at_once() -> None:
    behind = gate()
    behind.open.set()
    assert len(BatchingModel(behind, 4).run(request(1, 9))["sum"]) == 9
    assert behind.runs == [9]


def test_several_runs_at_the_same_time() -> None:
    behind = gate()
    model = BatchingModel(behind, 4, runs=2)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(model.run, request(value)) for value in range(2)]
        wait_until(lambda: len(behind.begun) == 2, lambda: f"runs that began: {behind.begun}")
        calls += [pool.submit(model.run, request(value)) for value in range(2, 4)]
        threading.Event().wait(0.05)
        behind.open.set()
        assert [float(call.result(10)["sum"][0, 0]) for call in calls] == [0, 11, 22, 33]
    assert behind.begun[:2] == [1, 1]
    assert sum(behind.runs) == 4


def test_the_leading_request_waits_for_the_delay() -> None:
    behind = gate()
    behind.open.set()
    model = BatchingModel(behind, 8, delay_seconds=0.3)
    with ThreadPoolExecutor(3) as pool:
        assert [len(out["sum"]) for out in pool.map(lambda value: model.run(request(value)), range(3))] == [1, 1, 1]
    assert behind.runs == [3]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**31))
def test_many_threads_get_their_own_answers(most: int, runs: int, seed: int) -> None:
    sizes = list[int]()
    model = BatchingModel(OnnxRuntimeEngine().load(graphs.adder(), threads=1), most, runs=runs, observe=sizes.append)
    rng = np.random.default_rng(seed)
    requests = [request(float(value), int(rows)) for value, rows in zip(range(60), rng.integers(1, 4, 60), strict=True)]
    with ThreadPoolExecutor(8) as pool:
        for inputs, outputs in zip(requests, pool.map(model.run, requests), strict=True):
            assert np.array_equal(outputs["sum"], 11 * inputs["a"])
    assert sum(sizes) == sum(len(inputs["a"]) for inputs in requests)
    model.close()


def test_a_deadline_stops_a_request_that_runs_alone() -> None:
    loaded = OnnxRuntimeEngine().load(graphs.endless(), threads=1)
    model = BatchingModel(loaded, 4)
    interrupt = Interrupt()
    threading.Timer(0.2, interrupt.trigger).start()
    with pytest.raises(FaceterError, match="stopped"):
        model.run({"times": np.array(2**60, np.int64)}, interrupt=interrupt)

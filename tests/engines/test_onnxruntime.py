import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.engines.base import Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from tests.engines import graphs


def load(content: bytes) -> LoadedModel:
    return OnnxRuntimeEngine().load(content, threads=1)


def test_inputs_and_outputs_are_described() -> None:
    loaded = load(graphs.classifier())
    assert [(spec.name, spec.dtype, spec.shape) for spec in loaded.inputs] == [("image", "float32", ["batch", 3, 8, 8])]
    assert [(spec.name, spec.dtype, spec.shape) for spec in loaded.outputs] == [("logits", "float32", ["batch", 3])]


def test_runs() -> None:
    a, b = np.array([[1, 2]], np.float32), np.array([[10, 20]], np.float32)
    assert load(graphs.adder()).run({"a": a, "b": b})["sum"].tolist() == [[11, 22]]


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(TensorProto.INT64, "int64"), (TensorProto.DOUBLE, "float64"), (TensorProto.UINT32, "uint32")],
)
def test_dtypes_by_numpys_names(dtype: int, name: str) -> None:
    loaded = load(graphs.adder(dtype))
    one = np.ones((2, 2), name)
    assert loaded.inputs[0].dtype == name
    assert loaded.run({"a": one, "b": one})["sum"].dtype == np.dtype(name)


def test_only_the_requested_outputs() -> None:
    content = graphs.model(
        [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Abs", ["x"], ["size"])],
        {"x": (TensorProto.FLOAT, [2])},
        {"minus": (TensorProto.FLOAT, [2]), "size": (TensorProto.FLOAT, [2])},
    )
    outputs = load(content).run({"x": np.array([-1, 2], np.float32)}, ["size"])
    assert {name: value.tolist() for name, value in outputs.items()} == {"size": [1, 2]}


def test_memory_grows_with_the_weights() -> None:
    small, large = (load(graphs.classifier(classes=classes)) for classes in (3, 50_000))
    weights = 50_000 * 5 * 4
    assert large.bytes - small.bytes >= weights


def test_a_graph_without_kernel_is_refused() -> None:
    with pytest.raises(FaceterError) as caught:
        load(graphs.unrunnable())
    assert caught.value.kind is ProblemKind.MODEL_NOT_RUNNABLE
    assert "Acosh" in caught.value.detail
    assert "/" not in caught.value.detail.replace("ai.onnx/", "")


def test_after_a_failed_run_the_model_stays_usable() -> None:
    loaded = load(graphs.adder())
    good = np.ones((1, 2), np.float32)
    with pytest.raises(FaceterError) as caught:
        loaded.run({"a": good, "b": np.ones((1, 3), np.float32)})
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED
    assert loaded.run({"a": good, "b": good})["sum"].tolist() == [[2, 2]]


def test_error_messages_contain_no_engine_internals() -> None:
    with pytest.raises(FaceterError) as caught:
        load(graphs.fails_when_run()).run({"a": np.zeros((1, 2), np.float32)})
    assert "Gather node" in caught.value.detail
    assert "status code" not in caught.value.detail
    assert "::" not in caught.value.detail
    joined = graphs.model(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=0)],
        {"a": (TensorProto.FLOAT, ["n", "width"]), "b": (TensorProto.FLOAT, ["m", "length"])},
        {"y": (TensorProto.FLOAT, ["rows", "columns"])},
    )
    with pytest.raises(FaceterError) as caught:
        load(joined).run({"a": np.zeros((1, 2), np.float32), "b": np.zeros((1, 3), np.float32)})
    assert re.search(r"input: Concat node: Non concat axis dimensions must match", caught.value.detail)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FaceterError):
        load(graphs.unrunnable())
    loaded = load(graphs.adder())
    with pytest.raises(FaceterError):
        loaded.run({"a": np.ones((1, 2), np.float32), "b": np.ones((1, 3), np.float32)})
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_an_endless_run_can_be_interrupted() -> None:
    loaded, interrupt = load(graphs.endless()), Interrupt()
    timer = threading.Timer(0.05, interrupt.trigger)
    timer.start()
    with pytest.raises(FaceterError) as caught:
        loaded.run({"times": np.array(2**60)}, interrupt=interrupt)
    timer.join()
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED
    assert "longer" in caught.value.detail


def test_a_run_with_a_triggered_interrupt_stops() -> None:
    interrupt = Interrupt()
    interrupt.trigger()
    with pytest.raises(FaceterError, match="stopped"):
        load(graphs.endless()).run({"times": np.array(2**60)}, interrupt=interrupt)


def test_concurrent_runs_return_their_own_outputs() -> None:
    loaded = load(graphs.adder())

    def run(i: int) -> list[list[float]]:
        value = np.full((1, 2), i, np.float32)
        result: list[list[float]] = loaded.run({"a": value, "b": value})["sum"].tolist()
        return result

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(200))) == [[[2 * i, 2 * i]] for i in range(200)]


def test_a_closed_model_is_not_run() -> None:
    loaded = load(graphs.adder())
    loaded.close()
    with pytest.raises(RuntimeError, match="closed"):
        loaded.run({})


def test_resnet20_gives_a_logit_per_class(shared_data: Path) -> None:
    loaded = load((shared_data / "cifar10" / "resnet20.onnx").read_bytes())
    batch = np.random.default_rng(0).normal(size=(4, 3, 32, 32)).astype(np.float32)
    together = loaded.run({"image": batch})[loaded.outputs[0].name]
    alone = np.concatenate([loaded.run({"image": image[None]})[loaded.outputs[0].name] for image in batch])
    assert together.shape == (4, 10)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)

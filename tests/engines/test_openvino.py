"""OpenVINO beside ONNX Runtime on the same files."""

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.serving import ServingPrecision
from faceter.contracts.settings import Settings
from faceter.engines import openvino, openvino_compiled
from faceter.engines.agreement import EXACT_DIFFERENCE, agreement, difference
from faceter.engines.base import Array, Engine, Interrupt, LoadedModel
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.openvino import OpenVinoEngine, OpenVinoModel
from faceter.graphs.packing import is_packed
from tests.engines import graphs
from tests.graphs.builders import residual_net
from tests.workers.quantization.networks import request_for
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import quantize

pytestmark = pytest.mark.skipif(not openvino.is_available(), reason="needs the extra faceter[openvino]")

SETTINGS = Settings(_env_file=None)
IMAGENET = Preprocessing(size=[32, 32], mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
EXACT, FAST = OpenVinoEngine(ServingPrecision.EXACT, 2), OpenVinoEngine(ServingPrecision.FAST, 2)


@cache
def quantized(bits: int = 8, granularity: str = "channel") -> bytes:
    """Return a small residual network, quantized without data."""
    metadata = ModelMetadata(preprocessing=Preprocessing(size=[16, 16], mean=[0.5] * 3, std=[0.25] * 3))
    request = request_for(method="rq", weight_bits=bits, activation_bits=8, weight_granularity=granularity)
    return quantize(residual_net().SerializeToString(), metadata, request, JobDatasets(), SETTINGS).exported.content


def load(content: bytes, engine: OpenVinoEngine = EXACT) -> OpenVinoModel:
    return engine.load(content, threads=1)


def image(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def both(content: bytes, engine: OpenVinoEngine = EXACT) -> tuple[LoadedModel, OpenVinoModel]:
    """Return the models of ONNX Runtime and of OpenVINO, which describe themselves alike."""
    reference, loaded = OnnxRuntimeEngine().load(content, threads=1), load(content, engine)
    assert loaded.inputs == reference.inputs
    assert loaded.outputs == reference.outputs
    return reference, loaded


def found_difference(content: bytes, inputs: dict[str, Array]) -> float:
    reference, loaded = both(content)
    return difference(reference.run(inputs), loaded.run(inputs))


def refusal(call: Callable[[], object]) -> FaceterError:
    with pytest.raises(FaceterError) as caught:
        call()
    assert "src/" not in caught.value.detail
    assert "Exception" not in caught.value.detail
    return caught.value


def of_types(kind: int) -> bytes:
    value: tuple[int, graphs.Shape] = (kind, ["n", 2])
    return graphs.model([helper.make_node("Concat", ["a", "b"], ["y"], axis=0)], {"a": value, "b": value}, {"y": value})


def test_it_is_an_engine() -> None:
    engine: Engine = EXACT
    assert isinstance(load(graphs.adder()), LoadedModel)
    assert {engine, OpenVinoEngine(ServingPrecision.EXACT, 2)} == {EXACT}
    assert EXACT != FAST


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_small_networks_answer_as_with_onnx_runtime(batch: int) -> None:
    assert found_difference(graphs.classifier(), {"image": image(batch, 3, 8, 8)}) <= EXACT_DIFFERENCE
    content = residual_net().SerializeToString()
    assert found_difference(content, {"image": image(batch, 3, 16, 16)}) <= EXACT_DIFFERENCE


@pytest.mark.parametrize("batch", [1, 7])
def test_resnet20_answers_as_with_onnx_runtime(shared_data: Path, batch: int) -> None:
    content = (shared_data / "cifar10" / "resnet20.onnx").read_bytes()
    assert found_difference(content, {"image": image(batch, 3, 32, 32)}) <= EXACT_DIFFERENCE


def test_fastestdet_answers_as_with_onnx_runtime(shared_data: Path) -> None:
    content = (shared_data / "detection" / "fastestdet.onnx").read_bytes()
    assert found_difference(content, {"input.1": image(1, 3, 352, 352)}) <= EXACT_DIFFERENCE


def test_a_network_of_sentences_answers_as_with_onnx_runtime(shared_data: Path) -> None:
    content = (shared_data / "nli" / "snli_mlp.onnx").read_bytes()
    random = np.random.default_rng(0)
    tokens = {"premise": random.integers(1, 500, (3, 40)), "hypothesis": random.integers(1, 500, (3, 24))}
    assert found_difference(content, tokens) <= EXACT_DIFFERENCE


def test_fast_is_close(shared_data: Path) -> None:
    inputs = {"image": image(64, 3, 32, 32)}
    reference, loaded = both((shared_data / "cifar10" / "resnet20.onnx").read_bytes(), FAST)
    found = agreement(reference.run(inputs), loaded.run(inputs))
    assert found.difference < 0.05
    assert found.same_class is not None
    assert found.same_class > 0.9


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_model_answers_nearly_as_with_onnx_runtime(bits: int, granularity: str) -> None:
    content = quantized(bits, granularity)
    assert is_packed(onnx.load_model_from_string(content)) is (bits < 8)
    inputs = {"image": image(200, 3, 16, 16)}
    for engine in (EXACT, FAST):
        reference, loaded = both(content, engine)
        expected = reference.run(inputs)
        with ThreadPoolExecutor(2) as pool:
            for answer in pool.map(loaded.run, [inputs] * 6):
                found = agreement(expected, answer)
                assert found.difference < 0.1
                assert found.same_class is not None
                assert found.same_class > 0.9


def test_resnet20_at_8_bits_answers_nearly_as_with_onnx_runtime(shared_data: Path) -> None:
    content = (shared_data / "cifar10" / "resnet20.onnx").read_bytes()
    made = quantize(content, ModelMetadata(preprocessing=IMAGENET), request_for(method="rq"), JobDatasets(), SETTINGS)
    reference, loaded = both(made.exported.content, FAST)
    inputs = {"image": image(64, 3, 32, 32)}
    found = agreement(reference.run(inputs), loaded.run(inputs))
    assert found.difference < 0.1
    assert found.same_class is not None
    assert found.same_class > 0.9


@pytest.mark.parametrize("engine", [EXACT, FAST])
def test_quantized_convolutions_have_integer_kernels(engine: OpenVinoEngine) -> None:
    loaded = load(quantized(), engine)
    assert loaded._general is not None
    nodes = loaded._general._idle[0].compiled.get_runtime_model().get_ordered_ops()
    kinds = [
        node.get_rt_info()["primitiveType"].astype(str)
        for node in nodes
        if node.get_rt_info()["layerType"].astype(str) == "Convolution"
    ]
    assert kinds
    assert all(kind.endswith("I8") for kind in kinds)


@pytest.mark.parametrize("name", openvino.DTYPES)
def test_element_types(name: str) -> None:
    content = of_types(helper.np_dtype_to_tensor_dtype(np.dtype(name)))
    values = np.array([[0, 1], [1, 100]]).astype(name)
    inputs = {"a": values, "b": values[::-1]}
    reference, loaded = both(content)
    answer = loaded.run(inputs)["y"]
    assert answer.dtype == np.dtype(name)
    np.testing.assert_array_equal(answer, reference.run(inputs)["y"])


def test_narrow_floats_are_computed_in_float32() -> None:
    assert load(graphs.adder(TensorProto.FLOAT16)).substitutes_float32
    assert not load(graphs.adder()).substitutes_float32
    loaded = load(graphs.adder(TensorProto.BFLOAT16))
    assert loaded.substitutes_float32
    assert loaded.inputs[0].dtype == "float32"
    one = np.ones((1, 2), helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16))
    assert loaded.run({"a": one, "b": one})["sum"].tolist() == [[2, 2]]


@pytest.mark.parametrize(
    "kind", [TensorProto.STRING, TensorProto.DOUBLE, TensorProto.UINT64, TensorProto.UINT32, TensorProto.FLOAT8E4M3FN]
)
def test_other_types_are_refused(kind: int) -> None:
    error = refusal(lambda: load(of_types(kind)))
    assert error.kind is ProblemKind.MODEL_NOT_RUNNABLE
    assert "'a'" in error.detail


def test_names_and_unused_inputs_and_outputs_that_are_inputs() -> None:
    vector = (TensorProto.FLOAT, ["n"])
    content = graphs.model(
        [helper.make_node("Neg", ["a/b:0,c"], ["out;1 é"]), helper.make_node("Identity", ["a/b:0,c"], ["same"])],
        {"not used": (TensorProto.FLOAT, [2]), "a/b:0,c": vector},
        {"out;1 é": vector, "a/b:0,c": vector, "same": vector, "w": (TensorProto.FLOAT, [1])},
        {"w": np.array([7], np.float32)},
    )
    inputs = {"not used": image(2), "a/b:0,c": image(3)}
    reference, loaded = both(content)
    expected, answers = reference.run(inputs), loaded.run(inputs)
    assert list(answers) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(answers[name], value)
    assert list(loaded.run(inputs, ["same"])) == ["same"]


def test_scalars_read_only_and_strided_inputs() -> None:
    scalar = graphs.model(
        [helper.make_node("Add", ["x", "x"], ["y"])], {"x": (TensorProto.FLOAT, [])}, {"y": (TensorProto.FLOAT, [])}
    )
    answer = load(scalar).run({"x": np.array(2, np.float32)})["y"]
    assert (answer.shape, float(answer)) == ((), 4)
    fixed = np.frombuffer(np.ones(2, np.float32).tobytes(), np.float32).reshape(1, 2)
    strided = np.arange(4, dtype=np.float32).reshape(1, 4)[:, ::2]
    assert load(graphs.adder()).run({"a": fixed, "b": strided})["sum"].tolist() == [[1, 3]]
    empty = np.zeros((0, 2), np.float32)
    assert load(graphs.adder()).run({"a": empty, "b": empty})["sum"].shape == (0, 2)


def test_outputs_stay_valid() -> None:
    loaded = load(graphs.adder())
    one = np.ones((1, 2), np.float32)
    first = loaded.run({"a": one, "b": one})["sum"]
    loaded.run({"a": 5 * one, "b": one})
    loaded.close()
    assert first.tolist() == [[2, 2]]


def test_failed_runs_say_why_and_leave_the_model_usable() -> None:
    loaded = load(graphs.adder())
    good = np.ones((1, 2), np.float32)
    for inputs, words in (
        ({"a": good, "b": np.ones((1, 3), np.float32)}, r"'b' takes the shape \[\?,2\], not \[1, 3\]"),
        ({"a": np.ones((2, 2), np.float32), "b": np.ones((3, 2), np.float32)}, "input: Add node 'sum'"),
        ({"a": good}, "takes the inputs 'a', 'b', not 'a'"),
        ({"a": good, "b": good.astype(np.float64)}, "'b' takes float32, not float64"),
    ):
        error = refusal(lambda inputs=inputs: loaded.run(inputs))  # type: ignore[misc]
        assert error.kind is ProblemKind.INFERENCE_FAILED
        with pytest.raises(FaceterError, match=words):
            raise error
    assert refusal(lambda: loaded.run({"a": good, "b": good}, ["c"])).kind is ProblemKind.INFERENCE_FAILED
    assert loaded.run({"a": good, "b": good})["sum"].tolist() == [[2, 2]]


def test_integers_beyond_32_bits_are_refused() -> None:
    loaded = load(graphs.adder(TensorProto.INT64))
    assert loaded.run({"a": np.array([[2**30, -1]]), "b": np.array([[1, 0]])})["sum"].tolist() == [[2**30 + 1, -1]]
    error = refusal(lambda: loaded.run({"a": np.array([[2**40, 0]]), "b": np.array([[1, 0]])}))
    assert "32 bits" in error.detail


def test_graphs_that_it_cannot_run_are_refused() -> None:
    unknown = graphs.model(
        [helper.make_node("ImageDecoder", ["x"], ["y"])],
        {"x": (TensorProto.UINT8, ["n"])},
        {"y": (TensorProto.UINT8, [None, None, None])},
    )
    error = refusal(lambda: load(unknown))
    assert error.kind is ProblemKind.MODEL_NOT_RUNNABLE
    assert "ImageDecoder" in error.detail
    assert "Loop" in refusal(lambda: load(graphs.endless(3))).detail


def test_it_prints_nothing_and_sends_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, numpy as np\n"
        "from faceter.engines import openvino\n"
        "from faceter.contracts.serving import ServingPrecision\n"
        "from tests.engines import graphs\n"
        "assert 'openvino' not in sys.modules\n"
        "model = openvino.OpenVinoEngine(ServingPrecision.EXACT).load(graphs.adder(), threads=1)\n"
        "one = np.ones((1, 2), np.float32)\n"
        "assert model.run({'a': one, 'b': one})['sum'].tolist() == [[2, 2]]\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
    )
    home = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=home, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_without_openvino_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    openvino_compiled.package.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    error = refusal(lambda: load(graphs.adder()))
    openvino_compiled.package.cache_clear()
    assert error.kind is ProblemKind.MODEL_NOT_RUNNABLE
    assert "faceter[openvino]" in error.detail


def slow() -> bytes:
    """Return a model of many products, that runs for minutes."""
    nodes = [
        helper.make_node("MatMul", [f"x{index}" if index else "x", "x"], [f"x{index + 1}"]) for index in range(300)
    ]
    matrix = (TensorProto.FLOAT, ["n", "n"])
    return graphs.model(nodes, {"x": matrix}, {"x300": matrix})


def test_a_run_can_be_interrupted_and_the_model_used_again() -> None:
    loaded, interrupt = load(slow()), Interrupt()
    timer = threading.Timer(0.1, interrupt.trigger)
    timer.start()
    error = refusal(lambda: loaded.run({"x": np.zeros((1500, 1500), np.float32)}, interrupt=interrupt))
    timer.join()
    assert error.kind is ProblemKind.INFERENCE_FAILED
    assert "longer" in error.detail
    assert refusal(lambda: loaded.run({"x": image(2, 2)}, interrupt=interrupt)).detail == error.detail
    assert loaded.run({"x": np.eye(2, dtype=np.float32)}, interrupt=Interrupt())["x300"].tolist() == [[1, 0], [0, 1]]


def test_a_run_that_waits_for_others_can_be_interrupted() -> None:
    loaded = load(slow(), OpenVinoEngine(ServingPrecision.EXACT, 1))
    first, second = Interrupt(), Interrupt()
    large = {"x": np.zeros((1500, 1500), np.float32)}
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(loaded.run, large, interrupt=first)
        waiting = pool.submit(loaded.run, {"x": image(2, 2)}, interrupt=second)
        second.trigger()
        stopped = refusal(waiting.result)
        assert not running.done()
        first.trigger()
        refusal(running.result)
    assert "longer" in stopped.detail


def test_concurrent_runs_return_their_own_outputs() -> None:
    loaded = load(graphs.adder())

    def run(i: int) -> list[list[float]]:
        value = np.full((1 + i % 3, 2), i, np.float32)
        result: list[list[float]] = loaded.run({"a": value, "b": value})["sum"].tolist()
        return result

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(200))) == [[[2 * i, 2 * i]] * (1 + i % 3) for i in range(200)]
    assert loaded._general is not None
    assert 1 <= len(loaded._general._idle) <= 2


def test_frequent_shapes_are_compiled_on_their_own_up_to_a_number() -> None:
    content = graphs.classifier()
    reference, loaded = both(content)
    own = loaded._own
    assert own is not None
    for batch in range(1, 7):
        inputs = {"image": image(batch, 3, 8, 8)}
        expected = reference.run(inputs)
        for _ in range(2):
            for _ in range(20):
                assert difference(expected, loaded.run(inputs)) <= EXACT_DIFFERENCE
            loaded.wait()
    assert list(own._compiled) == [((batch, 3, 8, 8),) for batch in (1, 2, 3, 4)]
    for _ in range(1100):
        loaded.run({"image": image(7, 3, 8, 8)})
    loaded.wait()
    assert ((7, 3, 8, 8),) in own._compiled
    loaded.close()
    assert not own._compiled


def test_fixed_shapes_have_one_model_and_bytes_grow_with_the_weights() -> None:
    assert load(graphs.classifier(batch=1))._own is None
    small, large = (load(graphs.classifier(classes=classes)) for classes in (3, 50_000))
    assert large.bytes - small.bytes >= 50_000 * 5 * 4


def test_probabilities_are_named() -> None:
    content = graphs.model(
        [helper.make_node("Softmax", ["x"], ["p"])],
        {"x": (TensorProto.FLOAT, ["n", 3])},
        {"p": (TensorProto.FLOAT, ["n", 3])},
    )
    assert load(content).probability_outputs == {"p"}


def test_a_closed_model_is_not_run() -> None:
    loaded = load(graphs.adder())
    loaded.close()
    with pytest.raises(RuntimeError, match="closed"):
        loaded.run({})

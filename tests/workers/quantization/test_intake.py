"""Models in other types, with branches, masks and ends that are no layers, quantized whole."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.describe import input_specs, output_specs
from faceter.graphs.layouts import UNSIGNED
from faceter.graphs.quantized_operators import is_quantized
from tests import foreign_models
from tests.graphs import control_flow, scikit_models
from tests.graphs.builders import Array, GraphBuilder
from tests.graphs.test_float_types import mlp
from tests.workers.quantization.evaluation_data import SETTINGS
from tests.workers.quantization.networks import request_for
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import QuantizedModel, quantize


def quantized(model: onnx.ModelProto, metadata: ModelMetadata | None = None) -> QuantizedModel:
    request = request_for(method="rq", weight_bits=8, activation_bits=8)
    return quantize(model.SerializeToString(), metadata or ModelMetadata(), request, JobDatasets(), SETTINGS)


def answers(content: bytes, **inputs: Array) -> dict[str, Array]:
    """Return the outputs of a model in the layout that is exact on every host."""
    return OnnxRuntimeEngine().load(content, threads=1, layout=UNSIGNED).run(inputs)


def noise(*shape: int, dtype: str = "float32") -> Array:
    return np.random.default_rng(5).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("name", ["float16", "float64", "bfloat16"])
def test_other_types_are_worked_on_in_float32_and_given_back(name: str) -> None:
    model = mlp(name)
    made = quantized(model)
    after = onnx.load_model_from_string(made.exported.content)
    assert is_quantized(after)
    assert made.inputs == input_specs(after) == input_specs(model)
    assert output_specs(after) == output_specs(model)
    assert any(f"computes in {name}" in line for line in made.report.warnings)
    x = noise(20, 4, dtype="float32" if name == "bfloat16" else name)
    expected, actual = answers(model.SerializeToString(), x=x)["y"], answers(made.exported.content, x=x)["y"]
    assert actual.dtype == expected.dtype
    assert np.abs(actual - expected).mean() < 0.05 * np.abs(expected).mean()


def test_the_branch_of_a_constant_input_is_quantized() -> None:
    model = control_flow.by_sampling_rate()
    made = quantized(model, ModelMetadata(constant_inputs={"sr": 16000}))
    after = onnx.load_model_from_string(made.exported.content)
    assert [spec.name for spec in made.inputs] == ["x"] == [value.name for value in after.graph.input]
    assert any("sr = 16000 alone" in line for line in made.report.warnings)
    x = noise(20, 4)
    expected = answers(model.SerializeToString(), x=x, sr=np.array(16000))["y"]
    actual = answers(made.exported.content, x=x)["y"]
    assert np.abs(actual - expected).mean() < 0.05 * np.abs(expected).mean()


def test_a_loop_of_known_length_is_quantized() -> None:
    model = control_flow.loop(count=3)
    made = quantized(model)
    assert "Loop" not in {node.op_type for node in onnx.load_model_from_string(made.exported.content).graph.node}
    x = noise(20, 4)
    expected, actual = answers(model.SerializeToString(), x=x), answers(made.exported.content, x=x)
    assert list(actual) == list(expected)
    assert np.abs(actual["y"] - expected["y"]).mean() < 0.05 * np.abs(expected["y"]).mean()


@pytest.mark.parametrize("text", [False, True])
def test_labels_and_maps_of_scikit_learn_stay_in_float(text: bool) -> None:
    model = scikit_models.multilayer_perceptron(text=text)
    made = quantized(model)
    x, _ = scikit_models.samples()
    expected, actual = answers(model.SerializeToString(), X=x), answers(made.exported.content, X=x)
    label, scores = expected
    assert list(actual) == [label, scores]
    assert (actual[label] == expected[label]).mean() > 0.95
    assert sorted(actual[scores][0]) == sorted(expected[scores][0])
    assert any("ZipMap" in line for line in made.report.warnings)


def masked(mask: float) -> onnx.ModelProto:
    """Return a network that adds a mask to logits, and takes the largest of pairs of masked values."""
    bias = np.zeros(8, np.float32)
    bias[[2, 5]] = mask
    net = GraphBuilder(["n", 16])
    scores = net.add("Gemm", "x", net.weight(16, 8))
    masked_scores = net.add("Add", scores, net.constant(bias))
    net.add("Softmax", masked_scores, output="p")
    keep, low = net.constant(bias == 0), net.constant(np.float32(mask))
    net.add("Where", keep, scores, low)
    net.add("Reshape", net.last, net.constant(np.array([-1, 1, 8])))
    net.add("MaxPool", net.last, kernel_shape=[2], strides=[2])
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(4, 3), output="y")
    return net.build("p", "y")


@pytest.mark.parametrize("mask", [-np.inf, -1e9])
def test_masks_are_no_part_of_a_range(mask: float) -> None:
    model = masked(mask)
    made = quantized(model)
    x = noise(50, 16)
    expected, actual = answers(model.SerializeToString(), x=x), answers(made.exported.content, x=x)
    assert (actual["p"][:, [2, 5]] == 0).all()
    for name in ("p", "y"):
        assert np.abs(actual[name] - expected[name]).mean() < 0.1 * np.abs(expected[name]).mean()


def test_agreement_is_measured_where_the_output_is_finite() -> None:
    net = GraphBuilder(["n", 16])
    bias = np.zeros(8, np.float32)
    bias[3] = -np.inf
    net.add("Add", net.add("Gemm", "x", net.weight(16, 8)), net.constant(bias))
    agreement = quantized(net.build()).report.agreement
    assert agreement is not None
    assert 0 < agreement.relative_error < 0.1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(bad: float) -> None:
    net = GraphBuilder(["n", 4])
    net.add("Gemm", "x", net.constant(np.full((4, 3), bad, np.float32), "broken"))
    with pytest.raises(FaceterError, match="'broken'") as caught:
        quantized(net.build())
    assert caught.value.kind is ProblemKind.INVALID_MODEL


def test_a_model_quantized_elsewhere_is_refused_with_the_reason() -> None:
    codes = numpy_helper.from_array(np.ones((4, 3), np.int8), "codes")
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "scale")
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["codes", "scale"], ["w"], "rounded"),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [codes, scale],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(FaceterError, match="DequantizeLinear \\(first at node 'rounded'\\)") as caught:
        quantized(model)
    assert caught.value.kind is ProblemKind.ALREADY_QUANTIZED


def test_a_model_fused_by_onnx_runtime_is_quantized(tmp_path: Path) -> None:

    network = foreign_models.convolutional()
    made = quantized(foreign_models.optimized(network, tmp_path))
    x = foreign_models.inputs(network)
    expected, actual = answers(network.SerializeToString(), x=x)["y"], answers(made.exported.content, x=x)["y"]
    np.testing.assert_allclose(actual, expected, atol=0.03)

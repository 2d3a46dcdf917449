from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.graphs.check import load_model
from faceter.graphs.lowering import lowered
from faceter.graphs.operators import unsupported
from faceter.graphs.view import is_standard
from tests import foreign_models
from tests.graphs.builders import Array, residual_net, run
from tests.workers.onnxruntime_reference import torch_outputs


def node(domain: str, operator: str, values: Mapping[str, Array], **attributes: Any) -> onnx.ModelProto:
    """Return a model of one node; what is called ``x…`` is an input, the rest are constants."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in values.items()}
    graph = helper.make_graph(
        [helper.make_node(operator, list(values), ["y0"], "node", domain=domain, **attributes)],
        "g",
        [helper.make_tensor_value_info(name, kinds[name], values[name].shape) for name in values if name[0] == "x"],
        [helper.make_tensor_value_info("y0", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items() if name[0] != "x"],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


MS, ML = "com.microsoft", "ai.onnx.ml"
X = {"x": floats(2, 4, 6)}
WEIGHT = np.random.default_rng(0).integers(-100, 100, (6, 3)).astype(np.int8)

CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "scaler": (ML, "Scaler", {"x": floats(3, 2)}, {"offset": [1.0, -2.0], "scale": [0.5, 3.0]}),
    "scaler of integers": (ML, "Scaler", {"x": np.arange(6).reshape(3, 2)}, {"offset": [1.0], "scale": [2.0]}),
    "normalizer L1": (ML, "Normalizer", {"x": floats(3, 4)}, {"norm": "L1"}),
    "normalizer L2": (ML, "Normalizer", {"x": floats(3, 4)}, {"norm": "L2"}),
    "binarizer": (ML, "Binarizer", {"x": floats(3, 4)}, {"threshold": 0.25}),
    "gelu": (MS, "Gelu", X, {}),
    "bias gelu": (MS, "BiasGelu", {**X, "b": floats(6)}, {}),
    "fast gelu": (MS, "FastGelu", {**X, "b": floats(6)}, {}),
    "quick gelu": (MS, "QuickGelu", X, {"alpha": 1.3}),
    "fused matmul": (
        MS,
        "FusedMatMul",
        {"x": floats(2, 6, 4), "w": floats(2, 3, 6)},
        {"transA": 1, "transB": 1, "alpha": 0.5},
    ),
    "fused gemm": (MS, "FusedGemm", {"x": floats(4, 6), "w": floats(6, 3), "b": floats(3)}, {"activation": "Relu"}),
    "fused conv": (
        MS,
        "FusedConv",
        {"x": floats(1, 2, 5, 5), "w": floats(3, 2, 3, 3), "b": floats(3)},
        {"activation": "LeakyRelu", "activation_params": [0.2], "pads": [1, 1, 1, 1]},
    ),
    "fused conv and sum": (
        MS,
        "FusedConv",
        {"x": floats(1, 2, 5, 5), "w": floats(3, 2, 1, 1), "b": floats(3), "x2": floats(1, 3, 5, 5, seed=2)},
        {"activation": "Relu"},
    ),
    "skip layer norm": (
        MS,
        "SkipLayerNormalization",
        {"x": floats(2, 4, 6), "x2": floats(2, 4, 6, seed=1), "g": floats(6), "b": floats(6), "c": floats(6)},
        {"epsilon": 1e-5},
    ),
    "dynamic matmul": (MS, "DynamicQuantizeMatMul", {"x": floats(4, 6), "w": WEIGHT, "s": np.float32(0.01)}, {}),
    "matmul to float": (
        MS,
        "MatMulIntegerToFloat",
        {
            "x": np.arange(24, dtype=np.uint8).reshape(4, 6),
            "w": WEIGHT,
            "xs": np.array([0.1], np.float32),
            "s": np.array([0.1, 0.2, 0.3], np.float32),
            "z": np.array([7], np.uint8),
            "wz": np.zeros(3, np.int8),
            "b": floats(3),
        },
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_standard_nodes_compute_the_same(case: str) -> None:
    domain, operator, given, attributes = CASES[case]
    model = node(domain, operator, given, **attributes)
    inputs = {name: np.asarray(value) for name, value in given.items() if name[0] == "x"}
    changed = lowered(model)
    assert all(is_standard(item) for item in changed.graph.node)
    assert unsupported(model) == []
    expected = run(model, **inputs)[0]
    for actual in (run(changed, **inputs)[0], torch_outputs(model, inputs)["y0"]):
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_the_sum_of_a_skip_connection_is_an_output_too() -> None:
    given = {"x": floats(2, 4, 6), "x2": floats(2, 4, 6, seed=1), "g": floats(6)}
    model = node(MS, "SkipLayerNormalization", given, epsilon=1e-5)
    model.graph.node[0].output.extend(["", "", "total"])
    model.graph.output.append(helper.make_tensor_value_info("total", TensorProto.FLOAT, None))
    inputs = {name: given[name] for name in ("x", "x2")}
    for expected, actual in zip(run(model, **inputs), run(lowered(model), **inputs), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_elements_of_a_vector_become_a_row() -> None:
    places = np.array([[2], [0]])
    model = node(ML, "ArrayFeatureExtractor", {"labels": np.array([10, 20, 30]), "x": places})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    np.testing.assert_array_equal(run(model, x=places)[0], [[30, 10]])
    np.testing.assert_array_equal(run(lowered(model), x=places)[0], [[30, 10]])


@pytest.mark.parametrize("name", foreign_models.QUANTIZED)
def test_quantized_models_of_other_tools_run_in_torch(name: str, tmp_path: Path) -> None:
    """By at most one step of an 8-bit output, since ONNX Runtime sums some of them in float."""
    model = load_model(foreign_models.made(name, tmp_path).SerializeToString(), max_bytes=1 << 24)
    given = {"x": foreign_models.inputs(model)}
    expected, actual = run(model, **given)[0], torch_outputs(model, given)["y"]
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(actual, expected, atol=np.abs(expected).max() / 64)


def test_a_model_fused_by_onnx_runtime_runs_in_torch(tmp_path: Path) -> None:
    network = foreign_models.convolutional()
    fused = load_model(foreign_models.optimized(network, tmp_path).SerializeToString(), max_bytes=1 << 24)
    assert {item.op_type for item in fused.graph.node if not is_standard(item)} == {"FusedConv", "QuickGelu"}
    given = {"x": foreign_models.inputs(network)}
    np.testing.assert_allclose(torch_outputs(fused, given)["y"], run(network, **given)[0], rtol=1e-4, atol=1e-5)


def test_what_cannot_be_replaced_stays_and_is_named() -> None:
    model = node(ML, "ArrayFeatureExtractor", {"labels": np.array(["a", "b"], object), "x": np.array([[1]])})
    assert unsupported(lowered(model)) == [("ai.onnx.ml.ArrayFeatureExtractor", "node")]
    assert unsupported(node(ML, "Normalizer", {"x": floats(2, 2)}, norm="MAX")) == [("ai.onnx.ml.Normalizer", "node")]


def test_a_standard_model_is_unchanged() -> None:
    model = residual_net()
    assert lowered(model) is model

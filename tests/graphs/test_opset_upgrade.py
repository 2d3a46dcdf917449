"""Models of every opset that ONNX Runtime takes: canonical, run by torch, and quantized graphs of the newest."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.canonical import MIN_OPSET, canonicalize
from faceter.graphs.check import NEWEST_OPSET, OLDEST_OPSET, load_model
from faceter.graphs.opset_upgrade import at_opset
from faceter.graphs.view import opset_of
from tests.graphs.builders import Array, run
from tests.workers.onnxruntime_reference import assert_equal_to_onnxruntime


def network(opset: int) -> onnx.ModelProto:
    """Return a network with the operators whose form changed most: Slice, Pad, Clip, Squeeze, Softmax, TopK, Resize."""
    constants: dict[str, Array] = {
        "w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32) * 0.3,
        "v": np.random.default_rng(1).normal(size=(4, 5)).astype(np.float32),
    }

    def node(operator: str, source: str, result: str, later: dict[str, Any], **attributes: Any) -> onnx.NodeProto:
        """Make a node whose settings are attributes, or inputs where ``later`` has them."""
        constants.update({f"{result}/{name}": np.asarray(value) for name, value in later.items()})
        return helper.make_node(operator, [source, *(f"{result}/{name}" for name in later)], [result], **attributes)

    def axes(*values: int) -> Array:
        return np.array(values, np.int64)

    nodes = [helper.make_node("Conv", ["x", "w"], ["c"])]
    if opset < 11:
        nodes.append(node("Clip", "c", "clip", {}, min=-0.5, max=2.0))
        nodes.append(node("Pad", "clip", "pad", {}, pads=[0, 0, 1, 1, 0, 0, 1, 1]))
    else:
        nodes.append(node("Clip", "c", "clip", {"min": np.float32(-0.5), "max": np.float32(2.0)}))
        nodes.append(node("Pad", "clip", "pad", {"pads": axes(0, 0, 1, 1, 0, 0, 1, 1)}))
    if opset < 10:
        scales = axes(1, 1, 2, 2).astype(np.float32)
        doubled = {"scales": [float(scale) for scale in scales]} if opset < 9 else {}
        nodes.append(node("Upsample", "pad", "up", {} if opset < 9 else {"scales": scales}, **doubled))
        nodes.append(node("Slice", "up", "cut", {}, axes=[2, 3], starts=[0, 2], ends=[8, 10]))
    else:
        roi = {} if opset == 10 else {"roi": np.zeros(0, np.float32)}
        simple = {} if opset == 10 else {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        nodes.append(node("Resize", "pad", "up", {**roi, "scales": axes(1, 1, 2, 2).astype(np.float32)}, **simple))
        cut = {"starts": axes(0, 2), "ends": axes(8, 10), "axes": axes(2, 3)}
        nodes.append(node("Slice", "up", "cut", cut))
    nodes.append(helper.make_node("GlobalAveragePool", ["cut"], ["pool"]))
    if opset < 13:
        nodes.append(node("Squeeze", "pool", "flat", {}, axes=[2, 3]))
    else:
        nodes.append(node("Squeeze", "pool", "flat", {"axes": axes(2, 3)}))
    nodes.append(helper.make_node("MatMul", ["flat", "v"], ["logits"]))
    nodes.append(helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", 1, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", 1, ["n", 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    ir_version = 4 if opset < 10 else 10
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def x() -> Array:
    return np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset_is_loaded_run_and_made_canonical(opset: int) -> None:
    model = load_model(network(opset).SerializeToString(), max_bytes=1 << 20)
    assert opset_of(model) == opset
    assert_equal_to_onnxruntime(model, {"x": x()})
    canonical = canonicalize(model)
    assert opset_of(canonical) == max(opset, MIN_OPSET)
    onnx.checker.check_model(canonical, full_check=True)
    np.testing.assert_allclose(run(canonical, x=x())[0], run(model, x=x())[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ir_version", [3, 8, 10, 12, onnx.IR_VERSION])
def test_ir_versions_that_onnx_runtime_reads(ir_version: int) -> None:
    model = network(13)
    model.ir_version = ir_version
    if ir_version < 4:
        weights = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
        model.graph.input.extend(weights)
    loaded = load_model(model.SerializeToString(), max_bytes=1 << 20)
    np.testing.assert_array_equal(run(loaded, x=x())[0], run(network(13), x=x())[0])


def test_a_newer_ir_version_is_refused_with_the_remedy() -> None:
    model = network(13)
    model.ir_version = onnx.IR_VERSION + 1
    with pytest.raises(FaceterError, match=f"model.ir_version = {onnx.IR_VERSION}"):
        load_model(model.SerializeToString(), max_bytes=1 << 20)


def test_a_newer_opset_is_unchanged() -> None:
    model = network(17)
    assert at_opset(model, 13) is model


def test_what_onnx_cannot_convert_is_refused() -> None:
    graph = helper.make_graph(
        [helper.make_node("Upsample", ["x", "s"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 1, 2, 2]), helper.make_tensor_value_info("s", 1, [4])],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=8)
    model.graph.node[0].op_type = "Invented"
    with pytest.raises(FaceterError, match="opset 10") as caught:
        at_opset(model, 13)
    assert caught.value.kind is ProblemKind.UNSUPPORTED_OPSET

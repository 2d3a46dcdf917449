"""Weights from units to classes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.graphs.classifier_weights import classifier_weights
from faceter.graphs.view import Array

WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def model(nodes: list[onnx.NodeProto], weights: dict[str, Array]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "classes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def pooled(*end: onnx.NodeProto) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Conv", ["x", "kernel"], ["layer"]),
        helper.make_node("Relu", ["layer"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        *end,
    ]


@pytest.mark.parametrize("transposed", [True, False])
def test_weights_of_a_linear_layer_after_pooling(transposed: bool) -> None:
    gemm = helper.make_node("Gemm", ["flat", "w"], ["y"], transB=int(transposed))
    found = classifier_weights(model(pooled(gemm), {"w": WEIGHTS if transposed else WEIGHTS.T}), "layer", 4, 3)
    assert found is not None
    assert found.tolist() == WEIGHTS.tolist()


def test_quantized_weights() -> None:
    end = [
        helper.make_node("DequantizeLinear", ["codes", "scale"], ["back"], axis=1),
        helper.make_node("MatMul", ["flat", "back"], ["y"]),
    ]
    scale = np.array([1, 2, 4], np.float32)
    found = classifier_weights(model(pooled(*end), {"codes": WEIGHTS.T.astype(np.int8), "scale": scale}), "layer", 4, 3)
    assert found is not None
    assert found.tolist() == (WEIGHTS * scale[:, None]).tolist()


def test_none_if_another_operator_lies_between() -> None:
    between = [
        helper.make_node("Softmax", ["flat"], ["soft"]),
        helper.make_node("Gemm", ["soft", "w"], ["y"], transB=1),
    ]
    assert classifier_weights(model(pooled(*between), {"w": WEIGHTS}), "layer", 4, 3) is None
    twice = [helper.make_node("Gemm", ["flat", "w"], ["y"], transB=1), helper.make_node("Neg", ["flat"], ["z"])]
    assert classifier_weights(model(pooled(*twice), {"w": WEIGHTS}), "layer", 4, 3) is None
    gemm = helper.make_node("Gemm", ["flat", "w"], ["y"], transB=1)
    assert classifier_weights(model(pooled(gemm), {"w": WEIGHTS}), "layer", 5, 3) is None

"""Networks shared by the tests of this folder."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.workers.quantization.networks import Digits, train_digits


@pytest.fixture(scope="package")
def small() -> onnx.ModelProto:
    """``relu(x · weight + bias)``, its sum over a shape worked out from constants, and a product with its transpose."""
    nodes = [
        helper.make_node("MatMul", ["x", "layer.weight"], ["product"]),
        helper.make_node("Add", ["product", "layer.bias"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["hidden"]),
        helper.make_node("Transpose", ["layer.weight"], ["transposed"], perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "transposed"], ["back"]),
        helper.make_node("Concat", ["minus_one", "four"], ["shape"], axis=0),
        helper.make_node("Reshape", ["back", "shape"], ["y"]),
    ]
    weight = np.random.default_rng(5).standard_normal((4, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(weight, "layer.weight"),
            numpy_helper.from_array(np.array([0.1, -0.2, 0.3], np.float32), "layer.bias"),
            numpy_helper.from_array(np.array([-1]), "minus_one"),
            numpy_helper.from_array(np.array([4]), "four"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="session")
def digits() -> Digits:
    """A depthwise network trained on digits, and the same function with badly scaled channels."""
    return train_digits()

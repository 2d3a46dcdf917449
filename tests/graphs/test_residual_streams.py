"""What a residual addition reads stays float; what matrix products read is a copy."""

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from faceter.graphs.canonical import canonicalize
from faceter.graphs.quantization_sites import find_quantization_sites
from faceter.graphs.view import GraphView
from tests.engines.graphs import model

WEIGHTS = {
    "gamma": np.linspace(0.5, 1.5, 4, dtype=np.float32),
    "beta": np.zeros(4, np.float32),
    "weight": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32),
    "root": np.array(2**0.5, np.float32),
    "one": np.array(1, np.float32),
    "half": np.array(0.5, np.float32),
}


def normalized(source: str, to: str) -> NodeProto:
    return helper.make_node("LayerNormalization", [source, "gamma", "beta"], [to], name=f"norm_{to}", axis=-1)


def network(*nodes: NodeProto, output: str = "y") -> onnx.ModelProto:
    shape = ("n", "length", 4)
    made = model(list(nodes), {"x": (TensorProto.FLOAT, shape)}, {output: (TensorProto.FLOAT, shape)}, WEIGHTS)
    return onnx.load_model_from_string(made)


def block(last: str = "LayerNormalization") -> onnx.ModelProto:
    return network(
        normalized("x", "stream"),
        helper.make_node("MatMul", ["stream", "weight"], ["product"], name="product"),
        helper.make_node("Add", ["stream", "product"], ["sum"], name="sum"),
        normalized("sum", "y") if last == "LayerNormalization" else helper.make_node(last, ["sum"], ["y"]),
    )


def test_the_matrix_product_reads_a_copy_and_the_addition_the_stream() -> None:
    view = GraphView(canonicalize(block()))
    (product,) = [node for node in view.graph.node if node.op_type == "MatMul"]
    (addition,) = [node for node in view.graph.node if node.name == "sum"]
    assert product.input[0] == "stream/operand"
    assert "stream" in addition.input
    copy = view.producer["stream/operand"]
    assert copy.op_type == "Mul"
    assert view.constant(copy.input[1]) == 1


def test_only_the_copy_is_quantized() -> None:
    tensors = {name for site in find_quantization_sites(canonicalize(block())).activations for name in site.tensors}
    assert "stream/operand" in tensors
    assert "stream" not in tensors


def test_a_stream_that_nothing_is_added_to_is_left_alone() -> None:
    straight = network(
        normalized("x", "stream"), helper.make_node("MatMul", ["stream", "weight"], ["y"], name="product")
    )
    assert [node.op_type for node in canonicalize(straight).graph.node] == ["LayerNormalization", "MatMul"]
    assert "Mul" not in [node.op_type for node in canonicalize(block("Relu")).graph.node]


def test_the_function_does_not_change() -> None:
    from faceter.engines.onnxruntime import OnnxRuntimeEngine

    x = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    outputs = [
        OnnxRuntimeEngine().load(one.SerializeToString(), threads=1).run({"x": x})["y"]
        for one in (block(), canonicalize(block()))
    ]
    np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-6)

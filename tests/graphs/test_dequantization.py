"""Float tensors of which a quantized graph has only the codes."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from faceter.graphs.dequantization import with_dequantized_tensors
from faceter.graphs.subgraph import extract_subgraph


def moved() -> onnx.ModelProto:
    """Return x → codes, joined with themselves, turned, and dequantized at last as y."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["a/q"]),
        helper.make_node("Concat", ["a/q", "a/q"], ["b/q"], axis=1),
        helper.make_node("Transpose", ["b/q"], ["c/q"], perm=[1, 0]),
        helper.make_node("DequantizeLinear", ["c/q", "scale", "zero"], ["c"]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "moved",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, "n"])],
        [
            numpy_helper.from_array(np.array(0.5, np.float32), "scale"),
            numpy_helper.from_array(np.array(10, np.uint8), "zero"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_codes_are_dequantized_with_the_scale_used_downstream() -> None:
    model = moved()
    before = model.SerializeToString()
    part = extract_subgraph(with_dequantized_tensors(model, ["a", "b", "y"]), ["a", "b"])
    a, b = onnxruntime.InferenceSession(part.SerializeToString()).run(
        ["a", "b"], {"x": np.array([[1.1, -2]], np.float32)}
    )
    assert np.asarray(a).tolist() == [[1.0, -2.0]]
    assert np.asarray(b).tolist() == [[1.0, -2.0, 1.0, -2.0]]
    assert model.SerializeToString() == before


def test_a_graph_that_has_the_tensors_is_unchanged() -> None:
    model = moved()
    assert with_dequantized_tensors(model, ["c", "y", "no such tensor"]) is model

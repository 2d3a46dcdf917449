import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceter.contracts.errors import FaceterError
from faceter.graphs.check import check_model
from faceter.graphs.describe import output_specs
from faceter.graphs.shapes import infer_shapes
from tests.graphs.builders import GraphBuilder, residual_net, run


def edited_batch(size: int = 4) -> onnx.ModelProto:
    """Return a model whose batch was changed in its input and output, but not between."""
    net = GraphBuilder([1, 3, 8, 8])
    net.conv(8, 3)
    net.add("Relu")
    net.add("GlobalAveragePool")
    model = net.build()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    return model


def test_stale_shapes_between_are_dropped_and_named() -> None:
    checked = check_model(edited_batch().SerializeToString(), max_bytes=1 << 20)
    (warning,) = checked.warnings
    assert "'t0': [1, 8, 8, 8], it is [4, 8, 8, 8]" in warning
    assert infer_shapes(checked.model)["t1"].shape == (4, 8, 8, 8)
    assert run(checked.model, x=np.ones((4, 3, 8, 8), np.float32))[0].shape == (4, 8, 1, 1)


def test_a_wrong_output_shape_is_corrected_and_named() -> None:
    model = edited_batch()
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    checked = check_model(model.SerializeToString(), max_bytes=1 << 20)
    assert output_specs(checked.model)[0].shape == [4, 8, 1, 1]
    assert any("says that the output 't2' is [1, 8, 1, 1]; it is [4, 8, 1, 1]" in line for line in checked.warnings)


def test_shapes_in_agreement_are_kept() -> None:
    model = residual_net()
    checked = check_model(model.SerializeToString(), max_bytes=1 << 20)
    assert checked.model == model
    assert checked.warnings == ()


def test_weights_that_do_not_fit_are_refused() -> None:
    model = residual_net()
    classifier = next(tensor for tensor in model.graph.initializer if tensor.name == "classifier")
    classifier.CopyFrom(numpy_helper.from_array(np.ones((5, 13), np.float32), "classifier"))
    with pytest.raises(FaceterError, match="sizes of its inputs and weights"):
        check_model(model.SerializeToString(), max_bytes=1 << 20)


def test_an_output_of_unknown_rank_is_served() -> None:
    shape = helper.make_tensor_value_info("s", TensorProto.INT64, ["rank"])
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]), shape],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert output_specs(check_model(model.SerializeToString(), max_bytes=1 << 20).model)[0].shape == []

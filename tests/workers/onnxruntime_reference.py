"""Comparison of the torch interpreter with ONNX Runtime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper

from workers.onnx_module import OnnxModule

Arrays = Mapping[str, NDArray[Any]]

RELATIVE = 1e-4


def onnxruntime_outputs(model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Run a model by ONNX Runtime without graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), sess_options=options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def torch_outputs(model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Run a model by the torch interpreter."""
    module = OnnxModule(model)
    with torch.no_grad():
        results = module({name: torch.from_numpy(np.asarray(value)) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in results.items()}


def assert_equal_to_onnxruntime(model: onnx.ModelProto, inputs: Arrays) -> None:
    """Compare dtype, shape and values (1e-4 relative) of every output."""
    expected, got = onnxruntime_outputs(model, inputs), torch_outputs(model, inputs)
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        assert got[name].shape == value.shape, name
        if value.dtype.kind == "f":
            size = float(np.abs(value[np.isfinite(value)]).max(initial=0.0))
            np.testing.assert_allclose(got[name], value, rtol=RELATIVE, atol=RELATIVE * size, err_msg=name)
        else:
            np.testing.assert_array_equal(got[name], value, err_msg=name)


def one_node(
    op_type: str,
    inputs: Arrays,
    opset: int,
    *,
    constants: Arrays | None = None,
    order: Sequence[str] | None = None,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """Make a model of one node.

    Args:
        inputs: Inputs of the graph, in the node's order.
        constants: Initializers; they follow the inputs.
        order: The node's inputs, if they are not ``inputs`` and then ``constants``; "" omits one.
        outputs: Number of outputs.
        **attributes: Attributes of the node.
    """
    constants = constants or {}
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, order or [*inputs, *constants], names, name=f"the_{op_type}", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in names],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)

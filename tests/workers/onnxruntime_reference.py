"""What ONNX Runtime answers, and how far the torch interpreter may be from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper

from workers.network import OnnxModule

Arrays = Mapping[str, NDArray[Any]]

RELATIVE = 1e-4


def onnxruntime_outputs(model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Run a model as it stands, without graph optimizations."""
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
    """Run a model by the interpreter."""
    module = OnnxModule(model)
    with torch.no_grad():
        results = module({name: torch.from_numpy(np.asarray(value)) for name, value in inputs.items()})
    return {name: value.numpy() for name, value in results.items()}


def assert_equal_to_onnxruntime(model: onnx.ModelProto, inputs: Arrays) -> None:
    """Compare every output: dtype, shape, and values to 1e-4 of the largest one."""
    wanted, got = onnxruntime_outputs(model, inputs), torch_outputs(model, inputs)
    assert list(got) == list(wanted)
    for name, value in wanted.items():
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
        op_type: Its operator.
        inputs: What the graph is given, in the node's order.
        opset: The version it is written in.
        constants: Initializers; they come after the inputs.
        order: The node's inputs, where that is not the order of ``inputs`` and ``constants``; "" leaves one out.
        outputs: How many outputs it has.
        **attributes: Its attributes.
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

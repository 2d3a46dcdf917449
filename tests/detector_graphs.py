"""Detectors whose outputs are fixed arrays: heads built to the layout of real exports, for any image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Open = Mapping[str, Sequence[int | str | None]]


def detector(
    outputs: Mapping[str, NDArray[Any]],
    *,
    size: Sequence[int | str] = (64, 64),
    inputs: Mapping[str, tuple[int, Sequence[int | str]]] | None = None,
    activations: Mapping[str, str] | None = None,
    open_shapes: Open | None = None,
    properties: Mapping[str, str] | None = None,
) -> onnx.ModelProto:
    """Return a model whose outputs have these values for any image.

    Args:
        outputs: Values by name, batch first.
        size: Height and width of the input `images`, which has a batch of one.
        inputs: Further inputs, which nothing depends on: element type and shape.
        activations: Operator that makes an output of its values, such as `Sigmoid`.
        open_shapes: Shapes that the file says of outputs, where they are not those of the values.
        properties: Entries of metadata_props.
    """
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0, name="mean"),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"], name="nothing"),
    ]
    weights = [numpy_helper.from_array(np.zeros((), np.float32), "zero")]
    infos = []
    for number, (name, value) in enumerate(outputs.items()):
        weights.append(numpy_helper.from_array(np.asarray(value, np.float32), f"value{number}"))
        operator = (activations or {}).get(name)
        integer = np.issubdtype(value.dtype, np.integer)
        last = f"raw_value{number}" if operator or integer else name
        nodes.append(helper.make_node("Add", [f"value{number}", "nothing"], [last], name=f"add{number}"))
        if operator:
            nodes.append(helper.make_node(operator, [last], [name], name=f"activation{number}"))
        if integer:
            nodes.append(helper.make_node("Cast", [last], [name], to=TensorProto.INT64, name=f"cast{number}"))
        shape = (open_shapes or {}).get(name, value.shape)
        infos.append(helper.make_tensor_value_info(name, TensorProto.INT64 if integer else TensorProto.FLOAT, shape))
    extra = [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in (inputs or {}).items()]
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])
    graph = helper.make_graph(nodes, "detector", [image, *extra], infos, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, text in (properties or {}).items():
        model.metadata_props.add(key=key, value=text)
    return model

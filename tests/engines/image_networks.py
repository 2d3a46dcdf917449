"""One small image classifier behind inputs of every layout, type and number of channels."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 16
CLASSES = 3


def image_network(
    *, channels_last: bool = False, whole_numbers: bool = False, channels: int = 3, sizes_open: bool = False
) -> bytes:
    """Return a classifier `image` to `logits` [N, 3] whose function of the pixels is always the same.

    Args:
        channels_last: Whether the input is [N, H, W, C], transposed in the graph as Keras' exporters do.
        whole_numbers: Whether the input is uint8 and divided by 255 in the graph, else float32.
        channels: 3, or 1 for a grey input.
        sizes_open: Whether the file leaves all sizes open.
    """
    random = np.random.default_rng(0)
    weights: dict[str, Any] = {
        "filters": random.normal(size=(8, channels, 3, 3)).astype(np.float32),
        "matrix": random.normal(size=(CLASSES, 8)).astype(np.float32),
        "most": np.array(255, np.float32),
    }
    nodes, tensor = [], "image"
    if whole_numbers:
        nodes += [
            helper.make_node("Cast", ["image"], ["cast"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["cast", "most"], ["scaled"]),
        ]
        tensor = "scaled"
    if channels_last:
        nodes.append(helper.make_node("Transpose", [tensor], ["moved"], perm=[0, 3, 1, 2]))
        tensor = "moved"
    nodes += [
        helper.make_node("Conv", [tensor, "filters"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["units"]),
        helper.make_node("GlobalAveragePool", ["units"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix"], ["logits"], transB=1),
    ]
    sizes = [SIDE, SIDE, channels] if channels_last else [channels, SIDE, SIDE]
    shape: list[str | int | None] = ["N", None, None, None] if sizes_open else ["N", *sizes]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("image", TensorProto.UINT8 if whole_numbers else TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content

"""Layouts: ways to write one quantized graph for a host's kernels, applied when the host loads it.

The stored file is always the plain layout. The others answer the same to the last bit and differ in speed, or in which
instructions they need.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from faceter.graphs.blocking import block_convolutions
from faceter.graphs.view import Array, GraphView, attribute, remove_unused, replace_nodes

PLAIN = "u8s8"
"""The layout that `write_qdq` writes and files hold."""
UNSIGNED = "u8u8"
"""The layout that is right on every host; see `faceter.engines.saturation`."""
_FOUR = 4
_BLOCK_CHANNELS = 64
_LARGEST_EXACT_CODE = 64


@dataclass(frozen=True)
class Layout:
    """A way to write the graph.

    Attributes:
        name: What a report calls it.
        description: What it is, in a sentence.
        transform: Makes it of a plain QDQ graph, which it does not change.
    """

    name: str
    description: str
    transform: Callable[[onnx.ModelProto], onnx.ModelProto]


def apply_layout(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a quantized graph in a layout, ready to be loaded.

    Args:
        model: A plain QDQ graph, weights unpacked to 8-bit codes; it is not changed. A float model is returned as it
            is.
        name: One of `layouts`.
    """
    layout = layouts[name]
    if name == PLAIN or not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return model
    return layout.transform(model)


def has_wide_codes(model: onnx.ModelProto) -> bool:
    """Whether some signed weight has a code beyond ±64, so that two products by uint8 codes may pass 16 bits.

    255 · 64 · 2 = 32,640 fits, 255 · 65 · 2 = 33,150 does not.

    Args:
        model: A quantized graph in any layout, weights unpacked.
    """
    view = GraphView(model)
    codes = (numpy_helper.to_array(view.tensor(node.input[0])) for node in _signed_weights(view))
    return any(int(np.abs(item.astype(np.int16)).max(initial=0)) > _LARGEST_EXACT_CODE for item in codes)


def _signed_weights(view: GraphView) -> list[onnx.NodeProto]:
    """Return the nodes that dequantize int8 weights."""
    found = []
    for node in view.graph.node:
        if node.op_type == "DequantizeLinear" and view.is_initializer(node.input[0]):
            tensor = view.tensor(node.input[0])
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
                found.append(node)
    return found


def _with_unsigned_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights as uint8, codes and zero points moved up by 128."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    moved: dict[str, str] = {}
    for node in _signed_weights(view):
        zero = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if zero is None:
            scale = view.constant(node.input[1])
            zero = np.zeros(() if scale is None else scale.shape, np.int8)
        name, scale_name = node.input[:2]
        if name not in moved:
            codes = numpy_helper.to_array(view.tensor(name))
            moved[name] = view.add_initializer(f"{name}/u8", _moved_up(codes))
        del node.input[:]
        node.input.extend([moved[name], scale_name, view.shared_initializer("zero/u8", _moved_up(zero))])
    remove_unused(changed.graph)
    return changed


def _moved_up(codes: Array) -> Array:
    return (codes.astype(np.int16) + 128).astype(np.uint8)


def _with_channels_by_four(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fill the codes that enter a convolution, and its weights, up with channels of zeros."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    nodes: list[onnx.NodeProto] = []
    for node in changed.graph.node:
        if node.op_type == "Conv":
            nodes += _fill_channels(view, node)
        nodes.append(node)
    replace_nodes(changed.graph, nodes)
    remove_unused(changed.graph)
    return changed


def _fill_channels(view: GraphView, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Fill one convolution's channels up; return the nodes that go before it."""
    source, weight = (view.producer.get(name) for name in node.input[:2])
    if source is None or weight is None or attribute(node, "group", 1) != 1:
        return []
    if any(item.op_type != "DequantizeLinear" or len(item.input) < 3 for item in (source, weight)):
        return []
    if not view.is_initializer(weight.input[0]) or view.only_consumer(node.input[1]) is None:
        return []
    codes, zero = numpy_helper.to_array(view.tensor(weight.input[0])), view.constant(weight.input[2])
    missing = -codes.shape[1] % _FOUR
    if not missing or zero is None or np.unique(zero).size > 1 or len(view.consumers[weight.input[0]]) > 1:
        return []
    widths = [(0, missing if axis == 1 else 0) for axis in range(codes.ndim)]
    view.replace_initializer(weight.input[0], np.pad(codes, widths, constant_values=zero.reshape(-1)[0]))
    pads = np.array([0] * (codes.ndim + 1) + [missing] + [0] * (codes.ndim - 2), np.int64)
    filled = view.unique(f"{node.input[0]}/filled")
    inputs = [source.input[0], view.shared_initializer("pads", pads), source.input[2]]
    pad = onnx.helper.make_node("Pad", inputs, [f"{filled}/q"])
    dequantize = onnx.helper.make_node("DequantizeLinear", [f"{filled}/q", *source.input[1:]], [filled])
    node.input[0] = filled
    return [pad, dequantize]


layouts: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(PLAIN, "uint8 activations by int8 weights", lambda model: model),
        Layout(
            "u8s8-by-4",
            "as u8s8, input channels of convolutions filled up to a multiple of four: kernels that take channels by "
            "fours are slow on the three of an image",
            _with_channels_by_four,
        ),
        Layout(
            "u8s8-blocks",
            "as u8s8, convolutions of few channels several pixels at a time; see `faceter.graphs.blocking`",
            lambda model: block_convolutions(model, _BLOCK_CHANNELS),
        ),
        Layout(
            UNSIGNED,
            "uint8 activations by uint8 weights: slower, but without the 16-bit sums of products that overflow where "
            "AVX2 has no VNNI",
            _with_unsigned_weights,
        ),
    )
}
"""The layouts a worker times on its host to serve the fastest; the first is the default."""

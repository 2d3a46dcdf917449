"""Layouts: equivalent forms of a quantized graph for different integer kernels, applied when a host loads it.

Files always have the plain layout. The others are bit-identical and differ in speed and in the instructions they use.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from faceter.graphs.blocking import block_convolutions
from faceter.graphs.view import Array, GraphView, attribute, remove_unused, replace_nodes

PLAIN = "u8s8"
"""The layout of `write_qdq` and of files."""
UNSIGNED = "u8u8"
"""The layout that is exact on every host; see `faceter.engines.saturation`."""
_CHANNEL_MULTIPLE = 4
_BLOCK_CHANNELS = 64
_LARGEST_EXACT_CODE = 64


@dataclass(frozen=True)
class Layout:
    """One layout; ``transform`` makes it from a plain QDQ graph, which it does not change."""

    name: str
    description: str
    transform: Callable[[onnx.ModelProto], onnx.ModelProto]


def apply_layout(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a quantized graph in a layout.

    Args:
        model: A plain QDQ graph with unpacked 8-bit codes; it is not changed. A float model is returned unchanged.
        name: One of `layouts`.
    """
    layout = layouts[name]
    if name == PLAIN or not any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return model
    return layout.transform(model)


def has_wide_codes(model: onnx.ModelProto) -> bool:
    """Whether a signed weight has a code beyond ±64, so that the sum of two products by uint8 may overflow 16 bits.

    255 · 64 · 2 = 32,640 fits, 255 · 65 · 2 = 33,150 does not.

    Args:
        model: A quantized graph in any layout, with unpacked weights.
    """
    view = GraphView(model)
    codes = (numpy_helper.to_array(view.tensor(node.input[0])) for node in _signed_weights(view))
    return any(int(np.abs(item.astype(np.int16)).max(initial=0)) > _LARGEST_EXACT_CODE for item in codes)


def _signed_weights(view: GraphView) -> list[onnx.NodeProto]:
    """Return the nodes that dequantize int8 weights."""
    nodes = []
    for node in view.graph.node:
        if node.op_type == "DequantizeLinear" and view.is_initializer(node.input[0]):
            tensor = view.tensor(node.input[0])
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
                nodes.append(node)
    return nodes


def _with_unsigned_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store weights as uint8: codes and zero points shifted by 128."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    unsigned: dict[str, str] = {}
    for node in _signed_weights(view):
        zero = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if zero is None:
            scale = view.constant(node.input[1])
            zero = np.zeros(() if scale is None else scale.shape, np.int8)
        name, scale_name = node.input[:2]
        if name not in unsigned:
            codes = numpy_helper.to_array(view.tensor(name))
            unsigned[name] = view.add_initializer(f"{name}/u8", _shifted_to_unsigned(codes))
        del node.input[:]
        node.input.extend([unsigned[name], scale_name, view.shared_initializer("zero/u8", _shifted_to_unsigned(zero))])
    remove_unused(changed.graph)
    return changed


def _shifted_to_unsigned(codes: Array) -> Array:
    return (codes.astype(np.int16) + 128).astype(np.uint8)


def _with_padded_channels(model: onnx.ModelProto) -> onnx.ModelProto:
    """Pad the input channels of convolutions, of codes and weights, with zeros to a multiple of four."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    nodes: list[onnx.NodeProto] = []
    for node in changed.graph.node:
        if node.op_type == "Conv":
            nodes += _pad_channels(view, node)
        nodes.append(node)
    replace_nodes(changed.graph, nodes)
    remove_unused(changed.graph)
    return changed


def _pad_channels(view: GraphView, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Pad the input channels of one convolution; return the nodes to insert before it."""
    source, weight = (view.producer.get(name) for name in node.input[:2])
    if source is None or weight is None or attribute(node, "group", 1) != 1:
        return []
    if any(item.op_type != "DequantizeLinear" or len(item.input) < 3 for item in (source, weight)):
        return []
    if not view.is_initializer(weight.input[0]) or view.only_consumer(node.input[1]) is None:
        return []
    codes, zero = numpy_helper.to_array(view.tensor(weight.input[0])), view.constant(weight.input[2])
    missing = -codes.shape[1] % _CHANNEL_MULTIPLE
    if not missing or zero is None or np.unique(zero).size > 1 or len(view.consumers[weight.input[0]]) > 1:
        return []
    widths = [(0, missing if axis == 1 else 0) for axis in range(codes.ndim)]
    view.replace_initializer(weight.input[0], np.pad(codes, widths, constant_values=zero.reshape(-1)[0]))
    pads = np.array([0] * (codes.ndim + 1) + [missing] + [0] * (codes.ndim - 2), np.int64)
    padded = view.unique(f"{node.input[0]}/padded")
    inputs = [source.input[0], view.shared_initializer("pads", pads), source.input[2]]
    pad = onnx.helper.make_node("Pad", inputs, [f"{padded}/q"])
    dequantize = onnx.helper.make_node("DequantizeLinear", [f"{padded}/q", *source.input[1:]], [padded])
    node.input[0] = padded
    return [pad, dequantize]


layouts: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout(PLAIN, "uint8 activations by int8 weights", lambda model: model),
        Layout(
            "u8s8-by-4",
            "as u8s8, input channels of convolutions padded to a multiple of four: kernels that read channels by "
            "fours are slow on the three of an image",
            _with_padded_channels,
        ),
        Layout(
            "u8s8-blocks",
            "as u8s8, convolutions of few channels compute several pixels at a time; see `faceter.graphs.blocking`",
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
"""The layouts that a worker times on its host to serve the fastest; the first is the default."""

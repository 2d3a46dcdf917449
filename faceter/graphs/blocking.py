"""Convolutions of few channels computed several pixels at a time, for kernels that like many output channels.

A convolution whose M output channels are few fills an integer matrix kernel badly. Taking p neighbouring pixels of a
row as p · M channels of one, its weights are p copies of the kernel, each shifted by the stride and filled up with
zeros: W'[i · M + m, c, y, s · i + x] = W[m, c, y, x] for i < p. It multiplies (k + s (p − 1)) / k times as much, in
products p times as wide. With channels last in memory, p · M channels of one pixel and M channels of p pixels are the
same bytes, so putting the row together again costs nothing where a runtime keeps channels last.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from faceter.graphs import shapes as shape_inference
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import GraphView, attribute, replace_nodes, set_attribute


@dataclass(frozen=True)
class _Parts:
    """The nodes around a convolution: what dequantizes its inputs, and what makes its result's codes."""

    weight: onnx.NodeProto
    bias: onnx.NodeProto | None
    last: onnx.NodeProto


def block_convolutions(model: onnx.ModelProto, channels: int) -> onnx.ModelProto:
    """Return a QDQ model whose convolutions of few output channels compute several pixels at a time.

    The codes are the same to the last bit. Weights with Z = 0 whose codes leave room get Z = −1, all codes less by one:
    kernels for symmetric weights, which would be taken otherwise, cannot use matrix units.

    Args:
        model: A model as `write_qdq` writes it; it is not changed.
        channels: Output channels to reach, such as 64.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    found = shape_inference.infer(changed)
    after: dict[str, list[onnx.NodeProto]] = {}
    for node in changed.graph.node:
        parts = _parts(view, node)
        if parts is None:
            continue
        _shift_zero_point(view, parts.weight)
        pixels = _pixels(found, node, channels)
        if pixels > 1:
            _widen(view, found, node, parts, pixels)
            follow = _join_pixels(view, parts.last, node, found)
            after[parts.last.output[0]] = follow
    nodes: list[onnx.NodeProto] = []
    for node in changed.graph.node:
        nodes += [node, *after.get(node.output[0], [])]
    replace_nodes(changed.graph, nodes)
    return changed


def _parts(view: GraphView, node: onnx.NodeProto) -> _Parts | None:
    """Return a convolution's neighbours if it can be blocked, None if it cannot."""
    if node.op_type != "Conv" or attribute(node, "group", 1) != 1 or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
        return None
    weight, source = view.producer.get(node.input[1]), view.producer.get(node.input[0])
    bias = view.producer.get(node.input[2]) if len(node.input) > 2 else None
    last = view.only_consumer(node.output[0])
    if weight is None or source is None or last is None or last.op_type != "QuantizeLinear":
        return None
    if any(item.op_type != "DequantizeLinear" for item in (weight, source)) or len(view.consumers[node.input[1]]) > 1:
        return None
    if len(node.input) > 2 and (bias is None or bias.op_type != "DequantizeLinear"):
        return None
    if not view.is_initializer(weight.input[0]) or len(view.tensor(weight.input[0]).dims) != 4:
        return None
    clip = view.only_consumer(last.output[0])
    return _Parts(weight, bias, clip if clip is not None and clip.op_type == "Clip" else last)


def _pixels(found: dict[str, TensorInfo], node: onnx.NodeProto, channels: int) -> int:
    """Return how many pixels of a row to take at a time: a power of two that divides the row."""
    kernel, result = found[node.input[1]].static, found[node.output[0]].shape
    if kernel is None or kernel[3] == 1 or result is None or attribute(node, "dilations", [1, 1]) != [1, 1]:
        return 1
    width, pixels = result[3], 1
    source = found[node.input[0]].shape
    if not isinstance(width, int) or source is None or not isinstance(source[3], int):
        return 1
    while kernel[0] * pixels * 2 <= channels and width % (pixels * 2) == 0:
        pixels *= 2
    return pixels


def _shift_zero_point(view: GraphView, weight: onnx.NodeProto) -> None:
    codes, zero = numpy_helper.to_array(view.tensor(weight.input[0])), view.constant(weight.input[2])
    if zero is None or codes.dtype != np.int8 or np.any(zero):
        return
    if int(codes.min()) == np.iinfo(np.int8).min:
        return
    view.replace_initializer(weight.input[0], (codes - 1).astype(np.int8))
    weight.input[2] = view.shared_initializer("zero/blocks", np.full_like(zero, -1))


def _widen(view: GraphView, found: dict[str, TensorInfo], node: onnx.NodeProto, parts: _Parts, pixels: int) -> None:
    """Make a convolution compute ``pixels`` pixels at a time."""
    codes = numpy_helper.to_array(view.tensor(parts.weight.input[0]))
    zero = view.constant(parts.weight.input[2])
    assert zero is not None
    kernel = codes.shape[2:]
    strides, pads = attribute(node, "strides", [1, 1]), attribute(node, "pads", [0, 0, 0, 0])
    shifted = []
    for index in range(pixels):
        widths = [(0, 0), (0, 0), (0, 0), (strides[1] * index, strides[1] * (pixels - 1 - index))]
        shifted.append(np.pad(codes, widths, constant_values=zero.reshape(-1)[0]))
    view.replace_initializer(parts.weight.input[0], np.concatenate(shifted))
    for dequantize, positions in ((parts.weight, (1, 2)), (parts.bias, (0, 1))):
        for position in positions if dequantize is not None else ():
            value = None if dequantize is None else view.constant(dequantize.input[position])
            if dequantize is not None and value is not None and value.ndim == 1:
                dequantize.input[position] = view.add_initializer(
                    f"{dequantize.input[position]}/blocks", np.tile(value, pixels)
                )
    result, source = found[node.output[0]].shape, found[node.input[0]].shape
    assert result is not None
    assert source is not None
    columns, width = result[3], source[3]
    assert isinstance(columns, int)
    assert isinstance(width, int)
    pads = [*pads[:3], (columns - 1) * strides[1] + kernel[1] - width - pads[1]]
    set_attribute(node, "kernel_shape", [kernel[0], kernel[1] + strides[1] * (pixels - 1)])
    set_attribute(node, "strides", [strides[0], strides[1] * pixels])
    set_attribute(node, "pads", pads)


def _join_pixels(
    view: GraphView, last: onnx.NodeProto, node: onnx.NodeProto, found: dict[str, TensorInfo]
) -> list[onnx.NodeProto]:
    """Rename the codes of blocks, and return the nodes that give the row of single pixels back under the old name."""
    name = last.output[0]
    result = found[node.output[0]].shape
    assert result is not None
    target = view.shared_initializer("shape/blocks", np.array([0, 0, -1, int(result[1] or 0)], np.int64))
    last.output[0] = f"{name}/blocks"
    return [
        helper.make_node("Transpose", [f"{name}/blocks"], [f"{name}/rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name}/rows", target], [f"{name}/pixels"]),
        helper.make_node("Transpose", [f"{name}/pixels"], [name], perm=[0, 3, 1, 2]),
    ]

"""Width blocking: convolutions with few output channels that compute several pixels of a row as channels of one.

A convolution with few output channels M makes poor use of an integer matrix kernel. With p neighbouring pixels of a row
as p · M channels of one pixel, its weights are p copies of the kernel, each shifted by the stride s and padded with
zeros: W'[i · M + m, c, y, s · i + x] = W[m, c, y, x] for i < p. This needs (k + s (p − 1)) / k times as many
multiplications, in products p times as wide. In NHWC memory p · M channels of one pixel and M channels of p pixels are
the same bytes, so restoring the row is free in a runtime that uses NHWC.
"""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import GraphView, attribute, replace_nodes, set_attribute


@dataclass(frozen=True)
class _QdqConvolution:
    """The nodes around a convolution of a QDQ graph."""

    weight: onnx.NodeProto
    """DequantizeLinear of its weights."""
    bias: onnx.NodeProto | None
    """DequantizeLinear of its bias."""
    output: onnx.NodeProto
    """QuantizeLinear of its result, or the Clip after that."""


def block_convolutions(model: onnx.ModelProto, channels: int) -> onnx.ModelProto:
    """Return a QDQ model whose convolutions with few output channels compute several pixels at a time.

    The activations' codes are bit-identical. Weights with Z = 0 and no code −128 get Z = −1 and codes lower by one:
    otherwise a runtime selects its kernels for symmetric weights, which cannot use matrix units.

    Args:
        model: A model as `write_qdq` writes it; it is not changed.
        channels: Most output channels of a blocked convolution, such as 64.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    shapes = infer_shapes(changed)
    after: dict[str, list[onnx.NodeProto]] = {}
    for node in changed.graph.node:
        convolution = _qdq_convolution(view, node)
        if convolution is None:
            continue
        _shift_zero_point(view, convolution.weight)
        pixels = _pixels(shapes, node, channels)
        if pixels > 1:
            _widen(view, shapes, node, convolution, pixels)
            after[convolution.output.output[0]] = _join_pixels(view, convolution.output, node, shapes)
    nodes: list[onnx.NodeProto] = []
    for node in changed.graph.node:
        nodes += [node, *after.get(node.output[0], [])]
    replace_nodes(changed.graph, nodes)
    return changed


def _qdq_convolution(view: GraphView, node: onnx.NodeProto) -> _QdqConvolution | None:
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
    return _QdqConvolution(weight, bias, clip if clip is not None and clip.op_type == "Clip" else last)


def _pixels(shapes: dict[str, TensorInfo], node: onnx.NodeProto, channels: int) -> int:
    """Return how many pixels of a row to take at a time: a power of two that divides the row."""
    kernel, result = shapes[node.input[1]].static, shapes[node.output[0]].shape
    if kernel is None or kernel[3] == 1 or result is None or attribute(node, "dilations", [1, 1]) != [1, 1]:
        return 1
    width, pixels = result[3], 1
    source = shapes[node.input[0]].shape
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


def _widen(
    view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto, convolution: _QdqConvolution, pixels: int
) -> None:
    """Make a convolution compute ``pixels`` pixels at a time."""
    codes = numpy_helper.to_array(view.tensor(convolution.weight.input[0]))
    zero = view.constant(convolution.weight.input[2])
    assert zero is not None
    kernel = codes.shape[2:]
    strides, pads = attribute(node, "strides", [1, 1]), attribute(node, "pads", [0, 0, 0, 0])
    shifted = []
    for index in range(pixels):
        widths = [(0, 0), (0, 0), (0, 0), (strides[1] * index, strides[1] * (pixels - 1 - index))]
        shifted.append(np.pad(codes, widths, constant_values=zero.reshape(-1)[0]))
    view.replace_initializer(convolution.weight.input[0], np.concatenate(shifted))
    for dequantize, positions in ((convolution.weight, (1, 2)), (convolution.bias, (0, 1))):
        for position in positions if dequantize is not None else ():
            value = None if dequantize is None else view.constant(dequantize.input[position])
            if dequantize is not None and value is not None and value.ndim == 1:
                dequantize.input[position] = view.add_initializer(
                    f"{dequantize.input[position]}/blocks", np.tile(value, pixels)
                )
    result, source = shapes[node.output[0]].shape, shapes[node.input[0]].shape
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
    view: GraphView, last: onnx.NodeProto, node: onnx.NodeProto, shapes: dict[str, TensorInfo]
) -> list[onnx.NodeProto]:
    """Rename the codes of blocks, and return the nodes that give the row of single pixels back under the old name."""
    name = last.output[0]
    result = shapes[node.output[0]].shape
    assert result is not None
    target = view.shared_initializer("shape/blocks", np.array([0, 0, -1, int(result[1] or 0)], np.int64))
    last.output[0] = f"{name}/blocks"
    return [
        helper.make_node("Transpose", [f"{name}/blocks"], [f"{name}/rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name}/rows", target], [f"{name}/pixels"]),
        helper.make_node("Transpose", [f"{name}/pixels"], [name], perm=[0, 3, 1, 2]),
    ]

"""Receptive fields of ONNX operators, for those that are local: each output depends on a few neighbouring inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

import onnx

from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import Array, GraphView, attribute, node_name
from faceter.translation.receptive_field import (
    AxisLength,
    MirrorPadding,
    ReceptiveField,
    SlidingWindow,
    TransposedWindow,
)

_POINTWISE = SlidingWindow()
_MIRROR_MODES = ("reflect", "edge")
_COORDINATE_MODES = ("half_pixel", "pytorch_half_pixel", "asymmetric")
_ELEMENTWISE = frozenset(
    {
        "Abs", "Cast", "Clip", "Dropout", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "Identity",
        "LeakyRelu", "Mish", "Neg", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Sqrt", "Tanh",
        "ThresholdedRelu",
    }
)  # fmt: skip
_WITH_CONSTANTS = frozenset(
    {
        "Add", "BatchNormalization", "DequantizeLinear", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "QuantizeLinear",
        "Sub",
    }
)  # fmt: skip


@dataclass(frozen=True)
class FeatureMapShape:
    """Shape of a tensor [1, channels, rows, columns] as a function of the image's height and width."""

    channels: int
    rows: AxisLength
    columns: AxisLength


@dataclass(frozen=True)
class LocalNode:
    """A node of a graph with its receptive field.

    Attributes:
        inputs: Names of the tensors it reads that depend on the image.
        rows: Receptive field along rows.
        columns: Receptive field along columns.
        shape: Shape of its output.
        workspace: Values in its kernel's temporary buffers, per value of its first input.
    """

    node: onnx.NodeProto
    inputs: tuple[str, ...]
    rows: ReceptiveField
    columns: ReceptiveField
    shape: FeatureMapShape
    workspace: float = 0.0


Shapes = Mapping[str, FeatureMapShape]
"""Shapes of tensors by name."""


class NotTileableError(Exception):
    """A node is not local, so the generator cannot run in tiles; the message begins with the node."""


class ReceptiveFieldAnalysis:
    """Determines the receptive fields of a graph's nodes.

    Args:
        view: The graph, in canonical form.
        tensors: Inferred type and shape of its tensors.
        constants: Names of the tensors that do not depend on the image.
    """

    def __init__(self, view: GraphView, tensors: Mapping[str, TensorInfo], constants: set[str]) -> None:
        self._view = view
        self._tensors = tensors
        self._constants = constants

    def analyze(self, node: onnx.NodeProto, shapes: Shapes) -> LocalNode:
        """Return a node with its receptive field.

        Args:
            node: A node whose inputs are constant or have shapes.
            shapes: Shapes of the tensors computed before it.

        Raises:
            NotTileableError: If its outputs depend on more than a neighbourhood, or the operator is not supported.
        """
        inputs = tuple(dict.fromkeys(name for name in node.input if name and name not in self._constants))
        if any(node.output[1:]):
            raise _not_tileable(node, "has more than one output that is used")
        if node.op_type in _ELEMENTWISE:
            return LocalNode(node, inputs, _POINTWISE, _POINTWISE, shapes[inputs[0]])
        if node.op_type in _WITH_CONSTANTS:
            return self._elementwise(node, inputs, shapes)
        analyze = _BY_OPERATOR.get(node.op_type)
        if analyze is None:
            raise _not_tileable(node, "is not known to be a local operator")
        if len(inputs) > 1 and node.op_type != "Concat":
            raise _not_tileable(node, "has weights that depend on the image")
        return analyze(self, node, inputs, shapes)

    def constant(self, node: onnx.NodeProto, index: int) -> Array | None:
        """Return a constant input, None if the node does not have it; NotTileableError if it is not constant."""
        if len(node.input) <= index or not node.input[index]:
            return None
        value = self._view.constant(node.input[index])
        if value is None:
            raise _not_tileable(node, "computes its parameters from other tensors")
        return value

    def weight(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Return the shape of a convolution's weight."""
        info = self._tensors.get(node.input[1])
        if info is None or info.static is None or len(info.static) != 4:
            raise _not_tileable(node, "has a weight that is not [outputs, inputs, height, width]")
        return info.static

    def _elementwise(self, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes) -> LocalNode:
        first = shapes[inputs[0]]
        if any(shapes[name] != first for name in inputs):
            raise _not_tileable(node, "combines tensors of different sizes")
        if node.op_type == "BatchNormalization" and attribute(node, "training_mode", 0):
            raise _not_tileable(node, "is in training mode")
        vectors = node.op_type in ("BatchNormalization", "QuantizeLinear", "DequantizeLinear")
        if vectors and (len(inputs) > 1 or attribute(node, "axis", 1) != 1 or attribute(node, "block_size", 0)):
            raise _not_tileable(node, "has scales that are neither per tensor nor per channel")
        for name in node.input:
            info = self._tensors.get(name)
            if not name or name in inputs or (info is not None and vectors):
                continue
            if info is None or info.static is None or prod(info.static[-2:]) != 1 or len(info.static) > 4:
                raise _not_tileable(node, "has a constant operand that varies over the image")
            if len(info.static) > 2 and info.static[-3] not in (1, first.channels):
                raise _not_tileable(node, "changes the number of channels")
        return LocalNode(node, inputs, _POINTWISE, _POINTWISE, first)


def _not_tileable(node: onnx.NodeProto, reason: str) -> NotTileableError:
    return NotTileableError(f"{node.op_type} {node_name(node)!r} {reason}")


def _with_fields(
    node: onnx.NodeProto,
    source: str,
    axes: tuple[ReceptiveField, ReceptiveField],
    shape: FeatureMapShape,
    channels: int,
) -> LocalNode:
    rows, columns = axes
    output = FeatureMapShape(channels, rows.output_length(shape.rows), columns.output_length(shape.columns))
    return LocalNode(node, (source,), rows, columns, output)


def _sliding_windows(node: onnx.NodeProto, kernel: tuple[int, ...]) -> tuple[SlidingWindow, SlidingWindow]:
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    pads = attribute(node, "pads", [0, 0, 0, 0])
    mode = attribute(node, "auto_pad", "NOTSET")
    if attribute(node, "ceil_mode", 0):
        raise _not_tileable(node, "rounds its output size up (ceil_mode)")
    windows = []
    for axis, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        window = (size - 1) * dilation + 1
        before, after = pads[axis], pads[axis + 2]
        if mode == "VALID":
            before = after = 0
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            total = max(window - stride, 0)
            before, after = total // 2, total - total // 2
            before, after = (before, after) if mode == "SAME_UPPER" else (after, before)
        windows.append(SlidingWindow(stride, before, after, window))
    return windows[0], windows[1]


def _conv(fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes) -> LocalNode:
    outputs, _, *kernel = fields.weight(node)
    return _with_fields(node, inputs[0], _sliding_windows(node, tuple(kernel)), shapes[inputs[0]], outputs)


def _pool(fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes) -> LocalNode:
    shape, kernel = shapes[inputs[0]], attribute(node, "kernel_shape", [])
    return _with_fields(node, inputs[0], _sliding_windows(node, tuple(kernel)), shape, shape.channels)


def _conv_transpose(
    fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes
) -> LocalNode:
    channels, per_group, *kernel = fields.weight(node)
    if attribute(node, "output_shape") or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise _not_tileable(node, "specifies output_shape instead of padding")
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    pads = attribute(node, "pads", [0, 0, 0, 0]) if attribute(node, "auto_pad", "NOTSET") == "NOTSET" else [0] * 4
    added = attribute(node, "output_padding", [0, 0])
    rows, columns = (
        TransposedWindow(
            strides[axis], pads[axis], pads[axis + 2] - added[axis], (kernel[axis] - 1) * dilations[axis] + 1
        )
        for axis in (0, 1)
    )
    outputs = per_group * attribute(node, "group", 1)
    local = _with_fields(node, inputs[0], (rows, columns), shapes[inputs[0]], outputs)
    return replace(local, workspace=outputs * prod(kernel) / channels)


def _pad(fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes) -> LocalNode:
    mode, pads, axes = attribute(node, "mode", "constant"), fields.constant(node, 1), fields.constant(node, 3)
    if pads is None or pads.size % 2:
        raise _not_tileable(node, "has no constant padding")
    numbers = list(range(4)) if axes is None else [int(axis) % 4 for axis in axes.reshape(-1)]
    widths = dict.fromkeys(range(4), (0, 0))
    pairs = pads.reshape(2, -1).T.tolist()
    widths.update({number: (before, after) for number, (before, after) in zip(numbers, pairs, strict=True)})
    if min(min(pair) for pair in widths.values()) < 0 or widths[0] != (0, 0):
        raise _not_tileable(node, "has negative padding, or pads the batch")
    shape = shapes[inputs[0]]
    channels = shape.channels + sum(widths[1])
    padding: tuple[ReceptiveField, ReceptiveField]
    if mode in _MIRROR_MODES and widths[1] == (0, 0):
        padding = MirrorPadding(*widths[2]), MirrorPadding(*widths[3])
    elif mode == "constant":
        padding = SlidingWindow(1, *widths[2]), SlidingWindow(1, *widths[3])
    else:
        raise _not_tileable(node, f"pads with mode {mode!r}")
    return _with_fields(node, inputs[0], padding, shape, channels)


def _resize(fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes) -> LocalNode:
    scales = fields.constant(node, 2)
    if scales is None or scales.size != 4 or (len(node.input) > 3 and node.input[3]) or attribute(node, "axes"):
        raise _not_tileable(node, "has no constant scales for its four axes")
    batch, channels, *space = (float(scale) for scale in scales.reshape(-1))
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    whole = batch == channels == 1 and all(scale >= 1 and scale == int(scale) for scale in space)
    if (
        not whole
        or coordinates not in _COORDINATE_MODES
        or attribute(node, "mode", "nearest") not in ("nearest", "linear")
    ):
        raise _not_tileable(
            node,
            "is not an upsampling by integer factors, nearest or linear, with half-pixel or asymmetric coordinates",
        )
    rows, columns = (TransposedWindow(int(scale), int(scale), int(scale), 3 * int(scale)) for scale in space)
    return _with_fields(node, inputs[0], (rows, columns), shapes[inputs[0]], shapes[inputs[0]].channels)


def _depth_to_space(
    fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes
) -> LocalNode:
    size = attribute(node, "blocksize")
    field = TransposedWindow(size, 0, 0, size)
    return _with_fields(node, inputs[0], (field, field), shapes[inputs[0]], shapes[inputs[0]].channels // size**2)


def _concat(fields: ReceptiveFieldAnalysis, node: onnx.NodeProto, inputs: tuple[str, ...], shapes: Shapes) -> LocalNode:
    first = shapes[inputs[0]]
    sizes = {(shapes[name].rows, shapes[name].columns) for name in inputs}
    if attribute(node, "axis") not in (1, -3) or len(sizes) > 1 or len(set(node.input) - set(inputs)):
        raise _not_tileable(node, "does not concatenate the channels of tensors of one size")
    channels = sum(shapes[name].channels for name in node.input)
    return LocalNode(node, inputs, _POINTWISE, _POINTWISE, FeatureMapShape(channels, first.rows, first.columns))


_BY_OPERATOR: dict[str, Callable[[ReceptiveFieldAnalysis, onnx.NodeProto, tuple[str, ...], Shapes], LocalNode]] = {
    "AveragePool": _pool,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "MaxPool": _pool,
    "Pad": _pad,
    "Resize": _resize,
}

"""Which ONNX operators are local: each value of the output depends on a few neighbouring values of the inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import onnx

from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import Array, GraphView, attribute, node_name
from faceter.translation.reach import Extent, Mirror, Reach, Slide, Spread

_SAME = Slide()
_MODES_MIRRORED = ("reflect", "edge")
_COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric")
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
class Grid:
    """Where the values of a tensor [1, channels, rows, columns] lie.

    Attributes:
        channels: Number of channels.
        rows: Number of rows, by the image's height.
        columns: Number of columns, by the image's width.
    """

    channels: int
    rows: Extent
    columns: Extent


@dataclass(frozen=True)
class Step:
    """A node of a graph and what it does to parts of images.

    Attributes:
        node: The node.
        sources: Names of the tensors it reads that depend on the image.
        rows: What it does along rows.
        columns: What it does along columns.
        grid: Where the values of its output lie.
        workspace: Values that its kernel keeps beside input and output, for each value of its first input.
    """

    node: onnx.NodeProto
    sources: tuple[str, ...]
    rows: Reach
    columns: Reach
    grid: Grid
    workspace: float = 0.0


class NotLocal(Exception):  # noqa: N818 - an answer, not an error
    """A node is not local; the message says why, beginning with the node."""


class Locality:
    """Finds out what the nodes of a graph do to parts of images.

    Args:
        view: The graph, in canonical form.
        shapes: Type and shape of its tensors, as inferred.
        constants: Names of the tensors that do not depend on the image.
    """

    def __init__(self, view: GraphView, shapes: Mapping[str, TensorInfo], constants: set[str]) -> None:
        self._view = view
        self._shapes = shapes
        self._constants = constants

    def step(self, node: onnx.NodeProto, grids: Mapping[str, Grid]) -> Step:
        """Return what a node does.

        Args:
            node: A node whose inputs have grids or are constant.
            grids: Grids of the tensors before it.

        Raises:
            NotLocal: If its outputs depend on more than a neighbourhood, or it is not known here.
        """
        sources = tuple(dict.fromkeys(name for name in node.input if name and name not in self._constants))
        if any(node.output[1:]):
            raise _not_local(node, "gives more than one output that is used")
        if node.op_type in _ELEMENTWISE:
            return Step(node, sources, _SAME, _SAME, grids[sources[0]])
        if node.op_type in _WITH_CONSTANTS:
            return self._joined(node, sources, grids)
        family = _FAMILIES.get(node.op_type)
        if family is None:
            raise _not_local(node, "is not an operator that is known to look at neighbours only")
        if len(sources) > 1 and node.op_type != "Concat":
            raise _not_local(node, "has weights that depend on the image")
        return family(self, node, sources, grids)

    def constant(self, node: onnx.NodeProto, index: int) -> Array | None:
        """Return a constant input, None where the node does not have it; NotLocal if it depends on the image."""
        if len(node.input) <= index or not node.input[index]:
            return None
        value = self._view.constant(node.input[index])
        if value is None:
            raise _not_local(node, "takes its sizes from other tensors")
        return value

    def weight(self, node: onnx.NodeProto) -> tuple[int, ...]:
        """Return the shape of a convolution's weight."""
        info = self._shapes.get(node.input[1])
        if info is None or info.static is None or len(info.static) != 4:
            raise _not_local(node, "has a weight that is not [outputs, inputs, height, width]")
        return info.static

    def _joined(self, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]) -> Step:
        first = grids[sources[0]]
        if any(grids[name] != first for name in sources):
            raise _not_local(node, "joins tensors of different sizes")
        if node.op_type == "BatchNormalization" and attribute(node, "training_mode", 0):
            raise _not_local(node, "is in training mode")
        vectors = node.op_type in ("BatchNormalization", "QuantizeLinear", "DequantizeLinear")
        if vectors and (len(sources) > 1 or attribute(node, "axis", 1) != 1 or attribute(node, "block_size", 0)):
            raise _not_local(node, "has scales of another form than one per tensor or channel")
        for name in node.input:
            info = self._shapes.get(name)
            if not name or name in sources or (info is not None and vectors):
                continue
            if info is None or info.static is None or prod(info.static[-2:]) != 1 or len(info.static) > 4:
                raise _not_local(node, "adds or multiplies a constant that differs from place to place")
            if len(info.static) > 2 and info.static[-3] not in (1, first.channels):
                raise _not_local(node, "changes the number of channels")
        return Step(node, sources, _SAME, _SAME, first)


def _not_local(node: onnx.NodeProto, words: str) -> NotLocal:
    return NotLocal(f"{node.op_type} {node_name(node)!r} {words}")


def _with_axes(node: onnx.NodeProto, source: str, axes: tuple[Reach, Reach], grid: Grid, channels: int) -> Step:
    rows, columns = axes
    out = Grid(channels, rows.extent(grid.rows), columns.extent(grid.columns))
    return Step(node, (source,), rows, columns, out)


def _slides(node: onnx.NodeProto, kernel: tuple[int, ...]) -> tuple[Slide, Slide]:
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    pads = attribute(node, "pads", [0, 0, 0, 0])
    mode = attribute(node, "auto_pad", "NOTSET")
    if attribute(node, "ceil_mode", 0):
        raise _not_local(node, "rounds its size up")
    axes = []
    for axis, (size, stride, dilation) in enumerate(zip(kernel, strides, dilations, strict=True)):
        window = (size - 1) * dilation + 1
        before, after = pads[axis], pads[axis + 2]
        if mode == "VALID":
            before = after = 0
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            total = max(window - stride, 0)
            before, after = total // 2, total - total // 2
            before, after = (before, after) if mode == "SAME_UPPER" else (after, before)
        axes.append(Slide(stride, before, after, window))
    return axes[0], axes[1]


def _conv(around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]) -> Step:
    outputs, _, *kernel = around.weight(node)
    return _with_axes(node, sources[0], _slides(node, tuple(kernel)), grids[sources[0]], outputs)


def _pool(around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]) -> Step:
    grid, kernel = grids[sources[0]], attribute(node, "kernel_shape", [])
    return _with_axes(node, sources[0], _slides(node, tuple(kernel)), grid, grid.channels)


def _conv_transpose(
    around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]
) -> Step:
    inputs, per_group, *kernel = around.weight(node)
    if attribute(node, "output_shape") or attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise _not_local(node, "states its size instead of its padding")
    strides, dilations = attribute(node, "strides", [1, 1]), attribute(node, "dilations", [1, 1])
    pads = attribute(node, "pads", [0, 0, 0, 0]) if attribute(node, "auto_pad", "NOTSET") == "NOTSET" else [0] * 4
    added = attribute(node, "output_padding", [0, 0])
    rows, columns = (
        Spread(strides[axis], pads[axis], pads[axis + 2] - added[axis], (kernel[axis] - 1) * dilations[axis] + 1)
        for axis in (0, 1)
    )
    outputs = per_group * attribute(node, "group", 1)
    step = _with_axes(node, sources[0], (rows, columns), grids[sources[0]], outputs)
    return Step(node, step.sources, rows, columns, step.grid, outputs * prod(kernel) / inputs)


def _pad(around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]) -> Step:
    mode, pads, axes = attribute(node, "mode", "constant"), around.constant(node, 1), around.constant(node, 3)
    if pads is None or pads.size % 2:
        raise _not_local(node, "does not state its padding")
    numbers = list(range(4)) if axes is None else [int(axis) % 4 for axis in axes.reshape(-1)]
    widths = dict.fromkeys(range(4), (0, 0))
    pairs = pads.reshape(2, -1).T.tolist()
    widths.update({number: (before, after) for number, (before, after) in zip(numbers, pairs, strict=True)})
    if min(min(pair) for pair in widths.values()) < 0 or widths[0] != (0, 0):
        raise _not_local(node, "cuts off values, or pads the batch")
    grid = grids[sources[0]]
    channels = grid.channels + sum(widths[1])
    if mode in _MODES_MIRRORED and widths[1] == (0, 0):
        axes_reach: tuple[Reach, Reach] = (Mirror(*widths[2]), Mirror(*widths[3]))
    elif mode == "constant":
        axes_reach = (Slide(1, *widths[2]), Slide(1, *widths[3]))
    else:
        raise _not_local(node, f"pads by {mode!r}")
    return _with_axes(node, sources[0], axes_reach, grid, channels)


def _resize(around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]) -> Step:
    scales = around.constant(node, 2)
    if scales is None or scales.size != 4 or (len(node.input) > 3 and node.input[3]) or attribute(node, "axes"):
        raise _not_local(node, "states no scales for its four axes")
    batch, channels, *space = (float(scale) for scale in scales.reshape(-1))
    coordinates = attribute(node, "coordinate_transformation_mode", "half_pixel")
    whole = batch == channels == 1 and all(scale >= 1 and scale == int(scale) for scale in space)
    if not whole or coordinates not in _COORDINATES or attribute(node, "mode", "nearest") not in ("nearest", "linear"):
        raise _not_local(node, "is not an enlargement by whole factors, nearest or linear, from half pixels")
    rows, columns = (Spread(int(scale), int(scale), int(scale), 3 * int(scale)) for scale in space)
    return _with_axes(node, sources[0], (rows, columns), grids[sources[0]], grids[sources[0]].channels)


def _depth_to_space(
    around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]
) -> Step:
    size = attribute(node, "blocksize")
    spread = Spread(size, 0, 0, size)
    return _with_axes(node, sources[0], (spread, spread), grids[sources[0]], grids[sources[0]].channels // size**2)


def _concat(around: Locality, node: onnx.NodeProto, sources: tuple[str, ...], grids: Mapping[str, Grid]) -> Step:
    first = grids[sources[0]]
    places = {(grids[name].rows, grids[name].columns) for name in sources}
    if attribute(node, "axis") not in (1, -3) or len(places) > 1 or len(set(node.input) - set(sources)):
        raise _not_local(node, "joins other things than the channels of tensors of one size")
    channels = sum(grids[name].channels for name in node.input)
    return Step(node, sources, _SAME, _SAME, Grid(channels, first.rows, first.columns))


_FAMILIES: dict[str, Callable[[Locality, onnx.NodeProto, tuple[str, ...], Mapping[str, Grid]], Step]] = {
    "AveragePool": _pool,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "MaxPool": _pool,
    "Pad": _pad,
    "Resize": _resize,
}

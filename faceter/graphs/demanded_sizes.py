"""What the weights that read a model's inputs say of axes that the file leaves open."""

from dataclasses import dataclass, field

import onnx

from faceter.graphs.view import GraphView, attribute

_KEEPING = frozenset({"Identity", "Cast", "Dropout", "Relu", "Clip", "Sub", "Add", "Mul", "Div"})
_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
_STATES = (5, 6)
_MOST_STEPS = 32

InputAxis = tuple[str, int]


@dataclass(frozen=True)
class DemandedSizes:
    """Axes of inputs, by input and axis."""

    sizes: dict[InputAxis, int] = field(default_factory=dict)
    """Size of the channel or feature axis that the first weight to read an input demands."""
    batch: set[InputAxis] = field(default_factory=set)
    """Batch axes of sequences and states of recurrent layers, which need not be first."""


def demanded_sizes(model: onnx.ModelProto) -> DemandedSizes:
    """Return what the layers that read a model's inputs say of their axes.

    An input is followed through elementwise operators and transpositions to a convolution, matrix product or recurrent
    layer with constant weights.

    Args:
        model: A checked model.
    """
    view = GraphView(model)
    demanded = DemandedSizes()
    for value in model.graph.input:
        if not view.is_initializer(value.name):
            _follow(view, demanded, value.name, len(value.type.tensor_type.shape.dim))
    return demanded


def _follow(view: GraphView, demanded: DemandedSizes, name: str, rank: int) -> None:
    tensor, axes = name, list(range(rank))
    for _ in range(_MOST_STEPS):
        readers = view.consumers.get(tensor, [])
        for node in readers:
            batch = _recurrent_batch_axis(node, tensor)
            if batch is not None and batch < len(axes):
                demanded.batch.add((name, axes[batch]))
            found = _of_weight(view, node, tensor, axes)
            if found is not None:
                demanded.sizes.setdefault((name, found[0]), found[1])
        if demanded.sizes.keys() & {(name, axis) for axis in range(rank)} or len(readers) != 1:
            return
        (node,) = readers
        if node.op_type == "Transpose":
            order = attribute(node, "perm", None) or list(reversed(range(len(axes))))
            if len(order) != len(axes):
                return
            axes = [axes[axis] for axis in order]
        elif node.op_type not in _KEEPING or any(
            item != tensor and view.constant(item) is None for item in node.input if item
        ):
            return
        tensor = node.output[0]


def _recurrent_batch_axis(node: onnx.NodeProto, tensor: str) -> int | None:
    """Return the batch axis of a tensor that a recurrent layer reads as sequence or state."""
    if node.op_type not in _RECURRENT:
        return None
    places = [index for index, item in enumerate(node.input) if item == tensor]
    if not any(index == 0 or index in _STATES for index in places):
        return None
    return 0 if attribute(node, "layout", 0) else 1


def _of_weight(view: GraphView, node: onnx.NodeProto, tensor: str, axes: list[int]) -> tuple[int, int] | None:
    if len(node.input) < 2 or node.input[0] != tensor or not axes:
        return None
    weight = view.constant(node.input[1])
    if weight is None:
        return None
    if node.op_type == "Conv" and len(axes) > 1:
        return axes[1], weight.shape[1] * int(attribute(node, "group", 1))
    if node.op_type == "MatMul" and weight.ndim > 1:
        return axes[-1], weight.shape[-2]
    if node.op_type == "Gemm" and not attribute(node, "transA", 0):
        return axes[-1], weight.shape[1 if attribute(node, "transB", 0) else 0]
    if node.op_type in _RECURRENT:
        return axes[-1], weight.shape[2]
    return None

"""Peak memory of a graph's run, estimated from the sizes of its tensors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx

from faceter.graphs.shapes import infer_shapes
from faceter.graphs.view import attribute, inputs_used

BYTES_PER_VALUE = 4
"""Of float32."""

ARENA_FACTOR = 2.4
"""Bytes that ONNX Runtime allocates per byte of live tensors; measured: at most 2.3 for the papers' generators.

Its arena is fragmented, and from the second run with the same input size on it also keeps one block for the whole run.
"""


@dataclass(frozen=True)
class NodeMemory:
    """Memory that one node needs while it runs.

    Attributes:
        inputs: Names of the tensors it reads.
        outputs: Names of the tensors it writes.
        workspace: Size of its kernel's temporary buffers, in the unit of the tensor sizes.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    workspace: float = 0.0


def peak_size(nodes: Sequence[NodeMemory], sizes: Mapping[str, float], held: Collection[str]) -> float:
    """Return the largest total size of live tensors, in the unit of ``sizes``.

    A tensor is live from the node that writes it to the last node that reads it.

    Args:
        nodes: In execution order.
        sizes: Sizes of the tensors; missing ones (weights) do not count.
        held: Tensors that stay live until the end, and inputs that are live from the start.
    """
    last = {name: index for index, node in enumerate(nodes) for name in node.inputs}
    written = {name for node in nodes for name in node.outputs}
    live = sum(size for name, size in sizes.items() if name in held and name not in written)
    peak = live
    for index, node in enumerate(nodes):
        live += sum(sizes.get(name, 0) for name in node.outputs)
        peak = max(peak, live + node.workspace)
        ended = {name for name in (*node.inputs, *node.outputs) if last.get(name, index) == index} - set(held)
        live -= sum(sizes.get(name, 0) for name in ended if name in written)
    return peak


def bytes_per_pixel(model: onnx.ModelProto, height: int, width: int) -> float:
    """Return the peak memory of a run of a whole generator, in bytes per pixel of the image, weights not counted.

    Args:
        model: A generator; its input height and width are dynamic or equal to these.
        height: Height of an image that it accepts, pixels.
        width: Width of that image.
    """
    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in sized.graph.input:
        if value.name not in weights:
            for dimension, size in zip(value.type.tensor_type.shape.dim, (1, 3, height, width), strict=True):
                dimension.dim_value = size
    del sized.graph.value_info[:]
    for value in sized.graph.output:
        value.type.tensor_type.ClearField("shape")
    shapes = {name: info.static for name, info in infer_shapes(sized).items()}
    feature_maps = {
        name: prod(shape)
        for name, shape in shapes.items()
        if shape is not None and len(shape) == 4 and name not in weights
    }
    outputs = [name for node in model.graph.node for name in node.output if name]
    unknown = max(feature_maps.values(), default=0)
    sizes: dict[str, float] = {name: feature_maps.get(name, 0 if shapes.get(name) else unknown) for name in outputs}
    nodes = [
        NodeMemory(tuple(inputs_used(node)), tuple(node.output), _workspace(node, shapes)) for node in model.graph.node
    ]
    held = {value.name for value in model.graph.output}
    return ARENA_FACTOR * BYTES_PER_VALUE * peak_size(nodes, sizes, held) / (height * width)


def _workspace(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...] | None]) -> float:
    source, weight = (shapes.get(name) for name in node.input[:2]) if len(node.input) > 1 else (None, None)
    if node.op_type not in ("Conv", "ConvTranspose") or source is None or weight is None:
        return 0.0
    output = shapes.get(node.output[0]) or ()
    if node.op_type == "Conv":
        return conv_workspace(prod(source), prod(output))
    return prod(source) * conv_transpose_workspace(weight, attribute(node, "group", 1))


def conv_workspace(input_size: float, output_size: float) -> float:
    """Return the values in a convolution's temporary buffers: input and output in the kernel's blocked layout."""
    return input_size + output_size


def conv_transpose_workspace(weight: Sequence[int], groups: int) -> float:
    """Return the values in a transposed convolution's column buffer (col2im), per input value.

    Args:
        weight: Shape of its weight [inputs, outputs / groups, height, width].
        groups: Number of groups.
    """
    return prod(weight[1:]) * groups / weight[0]

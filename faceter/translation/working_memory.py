"""How much memory a graph takes while it runs, estimated from the sizes of its tensors."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import onnx

from faceter.graphs.shapes import infer
from faceter.graphs.view import attribute, inputs_used

BYTES = 4
"""Bytes of a float32 value."""

HELD = 2.4
"""Bytes that ONNX Runtime holds for each byte of tensors that are live at once; 2.3 at most for the papers' generators.

Its arena does not fit every tensor into what another has left, and from the second run of a size on it holds one block
for the whole run beside."""


@dataclass(frozen=True)
class Work:
    """What running a node takes.

    Attributes:
        reads: Tensors that it reads.
        makes: Tensors that it makes.
        beside: Size of what its kernel keeps beside them, in the unit of the tensors' sizes.
    """

    reads: tuple[str, ...]
    makes: tuple[str, ...]
    beside: float = 0.0


def peak(works: Sequence[Work], sizes: Mapping[str, float], held: Collection[str]) -> float:
    """Return the most that is held at once, in the unit of the sizes.

    A tensor is held from the node that makes it to the last that reads it.

    Args:
        works: The nodes in the order they run.
        sizes: Sizes of the tensors; those that are missing (weights) do not count.
        held: Tensors that are held until the end, and inputs from the beginning.
    """
    last = {name: index for index, work in enumerate(works) for name in work.reads}
    made = {name for work in works for name in work.makes}
    live = sum(size for name, size in sizes.items() if name in held and name not in made)
    most = live
    for index, work in enumerate(works):
        live += sum(sizes.get(name, 0) for name in work.makes)
        most = max(most, live + work.beside)
        ended = {name for name in (*work.reads, *work.makes) if last.get(name, index) == index} - set(held)
        live -= sum(sizes.get(name, 0) for name in ended if name in made)
    return most


def bytes_per_pixel(model: onnx.ModelProto, height: int, width: int) -> float:
    """Return the bytes that a whole generator takes while it runs, for each pixel of the image.

    Args:
        model: It takes an image; its sizes may vary or be these. Weights do not count.
        height: Height of an image that it can take, pixels.
        width: Its width.
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
    found = infer(sized)
    shapes = {name: info.static for name, info in found.items()}
    images = {
        name: prod(shape)
        for name, shape in shapes.items()
        if shape is not None and len(shape) == 4 and name not in weights
    }
    made = [name for node in model.graph.node for name in node.output if name]
    unknown = max(images.values(), default=0)
    sizes: dict[str, float] = {name: images.get(name, 0 if shapes.get(name) else unknown) for name in made}
    works = [Work(tuple(inputs_used(node)), tuple(node.output), _beside(node, shapes)) for node in model.graph.node]
    outputs = {value.name for value in model.graph.output}
    return HELD * BYTES * peak(works, sizes, outputs) / (height * width)


def _beside(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...] | None]) -> float:
    source, weight = (shapes.get(name) for name in node.input[:2]) if len(node.input) > 1 else (None, None)
    if node.op_type not in ("Conv", "ConvTranspose") or source is None or weight is None:
        return 0.0
    made = shapes.get(node.output[0]) or ()
    if node.op_type == "Conv":
        return conv_beside(prod(source), prod(made))
    return prod(source) * transposed_beside(weight, attribute(node, "group", 1))


def conv_beside(source: float, made: float) -> float:
    """Return the values that a convolution's kernel holds beside its input and output: both, in its own layout."""
    return source + made


def transposed_beside(weight: Sequence[int], groups: int) -> float:
    """Return the values that a transposed convolution's kernel holds for each of its input: columns before summing.

    Args:
        weight: Shape of its weight [inputs, outputs / groups, height, width].
        groups: Number of groups.
    """
    return prod(weight[1:]) * groups / weight[0]

"""Sub-byte packing of weight codes in standard ONNX.

A packed model concatenates the codes of all weights of b bits, each shifted to u = q − q₀ with 0 ≤ u < 2^b. The bits of
u are split into fields of 4, 2 and 1 bits whose widths add up to b. Each field is an initializer with 8 / width codes
per byte, lowest bits first, so that no b wastes bits on padding. Standard nodes (BitShift, Mod, Cast, Mul, Add, Split,
…) rebuild the codes. Any runtime folds these at load; `unpack_weights` does it with numpy, so that serving does not
depend on that.

A weight whose channels have different bits is split by channel; each group is packed with the codes of its width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.view import Array, GraphView, attribute, remove_unused, replace_nodes

PREFIX = "faceter.unpack/"
_MIN_SAVED_BYTES = 256


@dataclass(frozen=True)
class _CodeBlock:
    """Codes of one width: a whole weight, or some of its channels."""

    weight: str
    codes: Array
    """Unsigned codes u."""


@dataclass(frozen=True)
class _ChannelSplit:
    """How a weight is rebuilt from blocks: Concat along ``axis``, then Gather of its channels by ``order``."""

    axis: int
    order: Array


def pack_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the integer codes of its weights packed at the fewest bits they need.

    Weights are the int8 initializers that a DequantizeLinear reads. Each weight, or each of its channels, is packed at
    the smallest b whose range contains its codes, at most its quantized bits. Packing is idempotent, and
    `unpack_weights` restores the model.

    Args:
        model: A quantized model; it is not changed.
    """
    if is_packed(model):
        return model
    packed = onnx.ModelProto()
    packed.CopyFrom(model)
    view = GraphView(packed)
    blocks: dict[int, list[_CodeBlock]] = {}
    splits: dict[str, _ChannelSplit] = {}
    originals: dict[str, Array] = {}
    for name, axis in _weights(view):
        codes = numpy_helper.to_array(view.tensor(name))
        originals[name] = codes
        whole, by_channel = _bits(codes, None), _bits(codes, axis)
        if axis is not None and _saved(codes, whole, by_channel) > _MIN_SAVED_BYTES + 4 * len(by_channel):
            splits[name] = _ChannelSplit(axis, np.argsort(np.argsort(by_channel, kind="stable"), kind="stable"))
            for bits in np.unique(by_channel):
                part = np.compress(by_channel == bits, codes, axis)
                _add_block(blocks, name, part, int(bits))
        else:
            _add_block(blocks, name, codes, int(whole[0]))
    narrow = dict.fromkeys(block.weight for bits, group in sorted(blocks.items()) if bits < 8 for block in group)
    if not narrow:
        return packed
    nodes: list[onnx.NodeProto] = []
    outputs: dict[str, list[str]] = {}
    for bits, group in sorted(blocks.items()):
        kept = [block for block in group if block.weight in narrow]
        if kept:
            nodes += _unpacking_nodes(view, bits, kept, outputs)
    for name in narrow:
        nodes += _joining_nodes(view, name, outputs[name], originals[name].shape, splits.get(name))
    for tensor in [tensor for tensor in packed.graph.initializer if tensor.name in narrow]:
        packed.graph.initializer.remove(tensor)
    replace_nodes(packed.graph, [*nodes, *packed.graph.node])
    return packed


def unpack_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with packed weights as int8 initializers again; a model without any is returned unchanged.

    The model's own unpacking nodes are evaluated with numpy.
    """
    if not is_packed(model):
        return model
    unpacked = onnx.ModelProto()
    unpacked.CopyFrom(model)
    graph = unpacked.graph
    packing = [node for node in graph.node if node.name.startswith(PREFIX)]
    done = {node.name for node in packing}
    values = {tensor.name: tensor for tensor in graph.initializer}
    limit = 64 * sum(len(tensor.SerializeToString()) for tensor in graph.initializer)
    known: dict[str, Array] = {}
    try:
        for node in packing:
            arguments = [known[name] if name in known else numpy_helper.to_array(values[name]) for name in node.input]
            if sum(argument.size for argument in arguments) > limit:
                raise ValueError("more codes than were packed")
            known.update(zip(node.output, _run(node, arguments), strict=True))
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise FaceterError(
            ProblemKind.INVALID_MODEL,
            f"The model's packed weights cannot be unpacked ({error}). Nodes called {PREFIX}… are written by Faceter "
            "and must not be changed; quantize the original model again.",
        ) from error
    inside = {name for node in packing for name in node.input}
    replace_nodes(graph, [node for node in graph.node if node.name not in done])
    for name in known:
        if name not in inside:
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(known[name]), name))
    remove_unused(graph)
    return unpacked


def is_packed(model: onnx.ModelProto) -> bool:
    """Whether the model has packed weights."""
    return any(node.name.startswith(PREFIX) for node in model.graph.node)


def weight_bytes(model: onnx.ModelProto) -> int:
    """Return the bytes of a model's weights in its file: float, 8-bit codes, or packed."""
    weights = {name for name, _ in _weights(GraphView(model))}
    total = 0
    for tensor in model.graph.initializer:
        if tensor.name in weights or tensor.name.startswith(PREFIX):
            total += numpy_helper.to_array(tensor).nbytes
    return total


def packed_bytes(shapes: Mapping[str, tuple[int, ...]], bits: Mapping[str, int]) -> int:
    """Return the `weight_bytes` of weights packed at these bits, without their codes.

    A weight takes the bytes of its codes, and below 8 bits another 8 per axis for its shape and 8 for its size. The
    constants that unpack a width are stored once. The result is exact if the codes of every weight need all its bits;
    otherwise the file is smaller (up to 70 bytes for the constants of another width).

    Args:
        shapes: Shape of each weight; those of fewer than two axes are not packed and not counted.
        bits: Bits of each weight, 1 to 8.
    """
    sizes: dict[int, list[int]] = {}
    total = 0
    for name, shape in shapes.items():
        if len(shape) > 1:
            sizes.setdefault(bits[name], []).append(prod(shape))
            total += 8 * len(shape) if bits[name] < 8 else prod(shape)
    constants: dict[str, int] = {}
    for width_bits, each in sizes.items():
        if width_bits == 8:
            continue
        padding = -sum(each) % 8
        total += (sum(each) + padding) * width_bits // 8
        runs = len(each) + bool(padding)
        total += 8 * runs if runs > 1 else 0
        constants |= {"flat": 8, f"base{width_bits}": 4}
        offset = 0
        for width in (width for width in (4, 2, 1) if width_bits & width):
            constants |= {f"shifts{width}": 8 // width, f"modulus{width}": 1}
            if offset:
                constants[f"times{offset}"] = 4
            offset += width
    return total + sum(constants.values())


def _weights(view: GraphView) -> list[tuple[str, int | None]]:
    """Return name and channel axis (None for one scale) of each int8 weight, also of looked-up embeddings."""
    axes: dict[str, int | None] = {}
    for node in view.graph.node:
        if node.op_type != "DequantizeLinear":
            continue
        lookup = view.producer.get(node.input[0])
        is_table = lookup is not None and lookup.op_type == "Gather" and not lookup.name.startswith(PREFIX)
        name = lookup.input[0] if lookup is not None and is_table else node.input[0]
        if not view.is_initializer(name):
            continue
        tensor = view.tensor(name)
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) > 1:
            per_channel = len(view.tensor(node.input[1]).dims) == 1 if view.is_initializer(node.input[1]) else False
            axis = -1 if is_table else attribute(node, "axis", 1)
            axes[tensor.name] = axis % len(tensor.dims) if per_channel else None
    return list(axes.items())


def _bits(codes: Array, axis: int | None) -> Array:
    """Return the fewest bits that represent the codes, [1], or per channel of ``axis``, [C]."""
    others = tuple(index for index in range(codes.ndim) if index != axis)
    low, high = codes.min(axis=others).reshape(-1), codes.max(axis=others).reshape(-1)
    needed = np.ones(low.shape, np.int32)
    for bits in range(1, 8):
        fits = (low >= -(1 << (bits - 1))) & (high < 1 << (bits - 1))
        needed = np.where(fits, needed, bits + 1)
    return needed


def _saved(codes: Array, whole: Array, by_channel: Array) -> float:
    return codes.size / 8 * (float(whole[0]) - float(by_channel.mean()))


def _add_block(blocks: dict[int, list[_CodeBlock]], name: str, codes: Array, bits: int) -> None:
    unsigned = (codes.astype(np.int32) + (1 << (bits - 1))).astype(np.uint8)
    blocks.setdefault(bits, []).append(_CodeBlock(name, unsigned))


def _unpacking_nodes(
    view: GraphView, bits: int, blocks: list[_CodeBlock], outputs: dict[str, list[str]]
) -> list[onnx.NodeProto]:
    """Store blocks of one width and return the nodes that rebuild them; adds each weight's tensors to ``outputs``."""
    tag = f"{PREFIX}{bits}/"
    codes = np.concatenate([block.codes.reshape(-1) for block in blocks])
    sizes = [block.codes.size for block in blocks]
    padding = -len(codes) % 8
    codes = np.concatenate([codes, np.zeros(padding, np.uint8)])
    nodes: list[onnx.NodeProto] = []

    def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> str:
        nodes.append(onnx.helper.make_node(operator, inputs, outputs, f"{PREFIX}{len(nodes)}/{tag}", **attributes))
        return outputs[0]

    def constant(name: str, value: Array) -> str:
        full = f"{PREFIX}{name}"
        return full if view.is_initializer(full) else view.add_initializer(full, value)

    whole = ""
    offset = 0
    for width in (width for width in (8, 4, 2, 1) if bits & width):
        field = (codes >> offset) & ((1 << width) - 1)
        shifts = np.arange(0, 8, width, dtype=np.uint8)
        stored = (field.reshape(-1, len(shifts)) << shifts).sum(axis=1).astype(np.uint8)
        step = f"{tag}{width}"
        if width == 8:
            spread = view.add_initializer(step, stored)
        else:
            data = view.add_initializer(step, stored.reshape(-1, 1))
            by = constant(f"shifts{width}", shifts[None])
            shifted = node("BitShift", [data, by], [f"{step}a"], direction="RIGHT")
            masked = node("Mod", [shifted, constant(f"modulus{width}", np.array(1 << width, np.uint8))], [f"{step}b"])
            spread = node("Reshape", [masked, constant("flat", np.array([-1], np.int64))], [f"{step}c"])
        wide = node("Cast", [spread], [f"{step}d"], to=onnx.TensorProto.INT32)
        if offset:
            wide = node("Mul", [wide, constant(f"times{offset}", np.array(1 << offset, np.int32))], [f"{step}e"])
        whole = node("Add", [whole, wide], [f"{step}f"]) if whole else wide
        offset += width
    base = -(1 << (bits - 1))
    whole = node("Add", [whole, constant(f"base{base}", np.array(base, np.int32))], [f"{tag}g"])
    whole = node("Cast", [whole], [f"{tag}h"], to=onnx.TensorProto.INT8)
    names = [f"{tag}/{index}" for index in range(len(blocks))]
    for block, name in zip(blocks, names, strict=True):
        outputs.setdefault(block.weight, []).append(name)
    if padding:
        sizes, names = [*sizes, padding], [*names, f"{tag}/rest"]
    if len(sizes) == 1:
        node("Reshape", [whole, constant("flat", np.array([-1], np.int64))], names)
    else:
        node("Split", [whole, view.add_initializer(f"{tag}i", np.array(sizes, np.int64))], names, axis=0)
    return nodes


def _joining_nodes(
    view: GraphView, name: str, parts: list[str], shape: tuple[int, ...], split: _ChannelSplit | None
) -> list[onnx.NodeProto]:
    """Return the nodes that restore a weight's shape and the order of its channels."""
    label = f"{PREFIX}{name}"
    if split is None:
        target = view.add_initializer(f"{label}/s", np.array(shape, np.int64))
        return [onnx.helper.make_node("Reshape", [parts[0], target], [name], label)]
    sizes = list(shape)
    sizes[split.axis] = -1
    target = view.add_initializer(f"{label}/s", np.array(sizes, np.int64))
    nodes = [
        onnx.helper.make_node("Reshape", [part, target], [f"{label}/{index}"], f"{label}/{index}")
        for index, part in enumerate(parts)
    ]
    shaped = [node.output[0] for node in nodes]
    order = view.add_initializer(f"{label}/o", split.order.astype(np.int32))
    nodes.append(onnx.helper.make_node("Concat", shaped, [f"{label}/j"], f"{label}/j", axis=split.axis))
    nodes.append(onnx.helper.make_node("Gather", [f"{label}/j", order], [name], label, axis=split.axis))
    return nodes


def _run(node: onnx.NodeProto, arguments: list[Array]) -> list[Array]:
    """Evaluate one unpacking node with numpy."""
    first = arguments[0]
    match node.op_type:
        case "BitShift":
            return [first >> arguments[1]]
        case "Mod":
            return [first % arguments[1]]
        case "Reshape":
            return [first.reshape(arguments[1])]
        case "Cast":
            return [first.astype(onnx.helper.tensor_dtype_to_np_dtype(attribute(node, "to")))]
        case "Mul":
            return [first * arguments[1]]
        case "Add":
            return [first + arguments[1]]
        case "Split":
            return list(np.split(first, np.cumsum(arguments[1])[:-1], axis=attribute(node, "axis", 0)))
        case "Concat":
            return [np.concatenate(arguments, axis=attribute(node, "axis"))]
        case "Gather":
            return [np.take(first, arguments[1], axis=attribute(node, "axis", 0))]
        case other:
            raise ValueError(f"an unpacking node of type {other} was not written by this version of Faceter")

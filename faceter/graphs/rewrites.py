"""Rewrites of nodes to the canonical form; all are exact."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from faceter.graphs.einsum import einsum_to_matmul
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import Array, GraphView, attribute, is_standard, node_name, set_attribute

Rewrite = Callable[[GraphView, dict[str, TensorInfo], onnx.NodeProto], list[onnx.NodeProto] | None]
"""``(view, shapes, node) -> nodes that replace it``, or None to keep the node."""


MASK = 1e4
"""Magnitude from which a constant that is added is a mask, such as −∞, −1e9 or the lowest float16, and no bias."""


def rank_of(shapes: dict[str, TensorInfo], name: str) -> int:
    """Return a tensor's rank, −1 if it is unknown."""
    info = shapes.get(name)
    return -1 if info is None or info.shape is None else len(info.shape)


def mean_to_pool(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Replace a ReduceMean over all spatial axes by GlobalAveragePool."""
    if node.op_type != "ReduceMean":
        return None
    rank = rank_of(shapes, node.input[0])
    axes = attribute(node, "axes")
    if len(node.input) > 1 and node.input[1]:
        value = view.constant(node.input[1])
        axes = None if value is None else value.reshape(-1).tolist()
    if rank < 3 or axes is None or sorted(axis % rank for axis in axes) != list(range(2, rank)):
        return None
    keep = attribute(node, "keepdims", 1)
    pooled = node.output[0] if keep else view.unique(f"{node.output[0]}/pooled")
    pool = onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [pooled], node.name)
    if keep:
        return [pool]
    return [pool, onnx.helper.make_node("Flatten", [pooled], [node.output[0]], f"{node_name(node)}/flatten", axis=1)]


def full_pool_to_global(
    view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto
) -> list[onnx.NodeProto] | None:
    """Replace an AveragePool with a kernel as large as its input by GlobalAveragePool."""
    if node.op_type != "AveragePool" or any(attribute(node, "pads", [])):
        return None
    info = shapes.get(node.input[0])
    space = None if info is None or info.shape is None else list(info.shape[2:])
    if attribute(node, "auto_pad", "NOTSET") not in ("NOTSET", "VALID") or attribute(node, "kernel_shape") != space:
        return None
    return [onnx.helper.make_node("GlobalAveragePool", [node.input[0]], [node.output[0]], node.name)]


def matmul_to_gemm(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Replace the MatMul of a matrix by a constant matrix by Gemm."""
    if node.op_type != "MatMul" or rank_of(shapes, node.input[0]) != 2 or not view.is_initializer(node.input[1]):
        return None
    if len(view.tensor(node.input[1]).dims) != 2 or shapes[node.input[1]].dtype != "float32":
        return None
    return [onnx.helper.make_node("Gemm", list(node.input), list(node.output), node.name)]


def weight_to_the_right(
    view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto
) -> list[onnx.NodeProto] | None:
    """Replace W · x by (xᵀ · Wᵀ)ᵀ for a constant matrix W: integer kernels take weights on the right."""
    if node.op_type not in ("Gemm", "MatMul") or not view.is_initializer(node.input[0]):
        return None
    weight, rank = view.constant(node.input[0]), rank_of(shapes, node.input[1])
    if weight is None or weight.ndim != 2 or weight.dtype != np.float32 or rank < 2:
        return None
    if attribute(node, "beta", 1.0) != 1.0 or view.is_initializer(node.input[1]):
        return None
    alpha = np.float32(attribute(node, "alpha", 1.0))
    rows = weight if attribute(node, "transA", 0) else weight.T
    stored = view.add_initializer(f"{node.input[0]}/right", np.ascontiguousarray(rows * alpha))
    x, nodes = node.input[1], []
    swap = [*range(rank - 2), rank - 1, rank - 2]
    name = node_name(node)
    if not attribute(node, "transB", 0):
        x = view.unique(f"{node.output[0]}/columns")
        nodes.append(onnx.helper.make_node("Transpose", [node.input[1]], [x], f"{name}/columns", perm=swap))
    product, result = view.unique(f"{node.output[0]}/product"), node.output[0]
    has_bias = len(node.input) > 2 and bool(node.input[2])
    rotated = view.unique(f"{result}/rows") if has_bias else result
    nodes += [
        onnx.helper.make_node("MatMul", [x, stored], [product], node.name),
        onnx.helper.make_node("Transpose", [product], [rotated], f"{name}/rows", perm=swap),
    ]
    if has_bias:
        nodes.append(onnx.helper.make_node("Add", [rotated, node.input[2]], [result], f"{name}/bias"))
    return nodes


def plain_gemm(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Fold alpha and beta into Gemm's constants, and make its bias a vector."""
    if node.op_type != "Gemm" or not view.is_initializer(node.input[1]):
        return None
    weight = view.constant(node.input[1])
    alpha, beta = attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)
    bias = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if weight is None or (has_bias and bias is None):
        return None
    if alpha != 1.0:
        node.input[1] = view.add_initializer(f"{node.input[1]}/scaled", (weight * alpha).astype(weight.dtype))
        set_attribute(node, "alpha", 1.0)
    if bias is not None:
        columns = weight.shape[0 if attribute(node, "transB", 0) else 1]
        vector = np.broadcast_to(bias.reshape(-1), (columns,)) if bias.size in (1, columns) and _is_row(bias) else bias
        if beta != 1.0 or vector.shape != bias.shape:
            node.input[2] = view.add_initializer(f"{node.input[2]}/vector", (vector * beta).astype(bias.dtype))
            set_attribute(node, "beta", 1.0)
    return [node]


def _is_row(bias: Array) -> bool:
    return bias.ndim < 2 or bias.shape[0] == 1


def absorb_affine(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Fold arithmetic with a constant for each channel after Conv, ConvTranspose or Gemm into its weights and bias."""
    affine = _affine_layer(view, shapes, node) if node.op_type in ("Add", "Sub", "Mul", "Div") else None
    if affine is None:
        return None
    constant = affine.constant
    if node.op_type in ("Add", "Sub"):
        if not np.all(np.abs(constant) < MASK):
            return None
        affine.set_bias(view, node, affine.bias + (constant if node.op_type == "Add" else -constant))
        return []
    if not np.all(np.isfinite(constant)) or (node.op_type == "Div" and not np.all(constant)):
        return None
    factor = constant if node.op_type == "Mul" else 1 / constant
    affine.scale_weight(view, factor)
    affine.set_bias(view, node, affine.bias * factor)
    return []


@dataclass(frozen=True)
class _AffineLayer:
    """A layer with constant weights whose result only one node reads, with a constant for each channel.

    Args:
        weight: Its weights.
        bias: Its bias [channels]; zeros if it has none.
        constant: What the node combines with its result, [channels].
    """

    layer: onnx.NodeProto
    weight: Array
    bias: Array
    constant: Array

    def scale_weight(self, view: GraphView, factor: Array) -> None:
        """Multiply the weights of each output channel by its factor [channels], in place."""
        if self.layer.op_type == "ConvTranspose":  # [in, out/groups, …], where each group has its own inputs
            groups = int(attribute(self.layer, "group", 1))
            rows = self.weight.reshape(groups, -1, *self.weight.shape[1:])
            shape = (groups, 1, self.weight.shape[1], *[1] * (self.weight.ndim - 2))
            scaled = (rows * factor.reshape(shape)).reshape(self.weight.shape)
        else:
            axis = 1 if self.layer.op_type == "Gemm" and not attribute(self.layer, "transB", 0) else 0
            scaled = self.weight * factor.reshape([-1 if item == axis else 1 for item in range(self.weight.ndim)])
        name = f"{self.layer.input[1]}/scaled"
        self.layer.input[1] = view.add_initializer(name, scaled.astype(self.weight.dtype))

    def set_bias(self, view: GraphView, node: onnx.NodeProto, bias: Array) -> None:
        """Set the bias, in place, and let the layer give the result of ``node``, which is to be removed."""
        name = view.add_initializer(f"{node.output[0]}/bias", bias.astype(self.weight.dtype))
        del self.layer.input[2:]
        self.layer.input.append(name)
        self.layer.output[0] = node.output[0]
        view.producer[node.output[0]] = self.layer


def _affine_layer(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> _AffineLayer | None:
    """Return the layer before a node of two inputs, whose other input is a constant for each channel."""
    for position in (0,) if node.op_type in ("Sub", "Div") else (0, 1):
        layer, other = view.producer.get(node.input[position]), view.constant(node.input[1 - position])
        if layer is None or other is None or layer.op_type not in ("Conv", "ConvTranspose", "Gemm"):
            continue
        shape, rank = shapes.get(node.output[0]), rank_of(shapes, layer.output[0])
        if shape is None or rank < 2 or view.only_consumer(layer.output[0]) is not node or not is_standard(layer):
            continue
        weight = view.constant(layer.input[1])
        before = view.constant(layer.input[2]) if len(layer.input) > 2 and layer.input[2] else None
        if weight is None or (len(layer.input) > 2 and layer.input[2] and before is None):
            continue
        channels = _channels(layer, weight)
        padded = other.reshape((1,) * (rank - other.ndim) + other.shape) if other.ndim <= rank else other
        if padded.ndim != rank or padded.size not in (1, channels) or padded.shape[1] != padded.size:
            continue
        bias = np.zeros(channels, weight.dtype) if before is None else before
        return _AffineLayer(layer, weight, bias, np.broadcast_to(padded.reshape(-1), (channels,)))
    return None


def _channels(layer: onnx.NodeProto, weight: Array) -> int:
    if layer.op_type == "Conv":
        return int(weight.shape[0])
    if layer.op_type == "ConvTranspose":
        return int(weight.shape[1]) * int(attribute(layer, "group", 1))
    return int(weight.shape[0 if attribute(layer, "transB", 0) else 1])


def power_to_root(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Replace the power 0.5 by the square root, whose gradient at 0 is known."""
    exponent = view.constant(node.input[1]) if node.op_type == "Pow" else None
    if exponent is None or exponent.size != 1 or float(exponent.reshape(-1)[0]) != 0.5:
        return None
    base = shapes.get(node.input[0])
    if base is None or base.dtype != "float32" or exponent.ndim > rank_of(shapes, node.input[0]):
        return None
    return [onnx.helper.make_node("Sqrt", [node.input[0]], list(node.output), node.name)]


def merge_slices(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Merge two consecutive Slices of different axes."""
    before = view.producer.get(node.input[0]) if node.op_type == "Slice" else None
    if before is None or before.op_type != "Slice" or view.only_consumer(node.input[0]) is not node:
        return None
    rank = rank_of(shapes, before.input[0])
    settings = [_slice_settings(view, item, rank) for item in (before, node)]
    if rank < 0 or settings[0] is None or settings[1] is None or set(settings[0]) & set(settings[1]):
        return None
    merged = {**settings[0], **settings[1]}
    columns = np.array([(start, end, axis, step) for axis, (start, end, step) in sorted(merged.items())], np.int64).T
    names = [
        view.add_initializer(f"{node.output[0]}/{what}", column)
        for what, column in zip(("starts", "ends", "axes", "steps"), columns, strict=True)
    ]
    return [onnx.helper.make_node("Slice", [before.input[0], *names], [node.output[0]], node.name)]


def _slice_settings(view: GraphView, node: onnx.NodeProto, rank: int) -> dict[int, tuple[int, int, int]] | None:
    """Return (start, end, step) by axis; None if they are not constant."""
    values = [view.constant(name) if name else None for name in [*node.input[1:], "", "", ""][:4]]
    starts, ends, axes, steps = values
    given = [bool(name) for name in [*node.input[1:], "", "", ""][:4]]
    if starts is None or ends is None or (given[2] and axes is None) or (given[3] and steps is None):
        return None
    where = np.arange(starts.size) if axes is None else axes.reshape(-1)
    by = np.ones(starts.size, np.int64) if steps is None else steps.reshape(-1)
    columns = zip(where.tolist(), starts.reshape(-1).tolist(), ends.reshape(-1).tolist(), by.tolist(), strict=True)
    return {axis % rank: (start, end, step) for axis, start, end, step in columns}


rewrites: tuple[Rewrite, ...] = (
    mean_to_pool,
    full_pool_to_global,
    einsum_to_matmul,
    weight_to_the_right,
    matmul_to_gemm,
    plain_gemm,
    absorb_affine,
    power_to_root,
    merge_slices,
)
"""All rewrites, in the order of application."""

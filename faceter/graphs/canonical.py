"""The canonical form of a graph, which BatchNorm folding, equalization and quantization expect."""

import numpy as np
import onnx

from faceter.graphs.channels_first import move_transposes
from faceter.graphs.constant_folding import constants_to_initializers, fold_constants
from faceter.graphs.float_types import in_float32
from faceter.graphs.lowering import lowered
from faceter.graphs.node_failure import NodeFailure, note_failure
from faceter.graphs.opset_upgrade import at_opset
from faceter.graphs.residual_streams import separate_residual_streams
from faceter.graphs.rewrites import Rewrite, rewrites
from faceter.graphs.shapes import TensorInfo, infer_shapes
from faceter.graphs.view import (
    GraphView,
    all_nodes,
    is_standard,
    node_name,
    remove_unused,
    replace_nodes,
    subgraphs,
    unique_names,
)

MIN_OPSET = 13
_MIN_IR_VERSION = 8


def canonicalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equivalent model in canonical form.

    - Opset 13 or later: DequantizeLinear has an axis since then.
    - Weights and arithmetic are float32; inputs and outputs of another floating-point type are cast.
    - Constant nodes are initializers, and constant expressions are folded.
    - There is no Identity, no Dropout and no Cast to the type that a tensor already has.
    - Between convolutions of a network with channels last there is no Transpose.
    - A mean over all spatial axes is GlobalAveragePool.
    - A matrix product by a constant is Gemm without alpha and beta and with a bias vector.
    - A constant added to or subtracted from the result of Conv, ConvTranspose or Gemm is part of its bias, and one that
      scales it part of its weights.
    - Consecutive Slices of different axes are one Slice.
    - A matrix product reads a copy of a residual stream that stays float.
    - Node names are unique.

    Remaining tensors, inputs and outputs keep their names.

    Args:
        model: A checked model; it is not changed.

    Raises:
        FaceterError: UNSUPPORTED_OPSET where ONNX cannot convert an older opset.
    """
    changed = in_float32(_upgrade(lowered(model)))
    constants_to_initializers(changed)
    _remove_identities(changed)
    fold_constants(changed)
    if move_transposes(changed):
        _remove_identities(changed)
    for rewrite in rewrites:
        _apply(changed, rewrite)
    separate_residual_streams(changed)
    for node, name in zip(changed.graph.node, unique_names(changed.graph), strict=True):
        node.name = name
    remove_unused(changed.graph)
    return changed


def _upgrade(model: onnx.ModelProto) -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(at_opset(model, MIN_OPSET))
    changed.ir_version = max(changed.ir_version, _MIN_IR_VERSION)
    return changed


def _remove_identities(model: onnx.ModelProto) -> None:
    captured = {
        name
        for node in all_nodes(model.graph)
        for graph in subgraphs(node)
        for item in graph.node
        for name in item.input
    }
    view, shapes = GraphView(model), infer_shapes(model)
    renamed: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        fixed = node.output[0] in captured or node.output[0] in view.outputs
        if fixed or not _is_identity(view, shapes, node):
            kept.append(node)
        else:
            renamed[node.output[0]] = node.input[0]
    replace_nodes(model.graph, kept)
    _name_outputs(model, shapes)


def _name_outputs(model: onnx.ModelProto, shapes: dict[str, TensorInfo]) -> None:
    """Remove each Identity that gives a graph output, by renaming its input to that output."""
    view = GraphView(model)
    kept = list(model.graph.node)
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        producer = view.producer.get(source)
        if producer is None or source in view.outputs or not _is_identity(view, shapes, node):
            continue
        if list(subgraphs(producer)):
            continue
        if any(list(subgraphs(reader)) for reader in view.consumers[source]):
            continue
        target = node.output[0]
        for reader in view.consumers[source]:
            for index, name in enumerate(reader.input):
                reader.input[index] = target if name == source else name
        for index, name in enumerate(producer.output):
            producer.output[index] = target if name == source else name
        kept.remove(node)
        replace_nodes(model.graph, kept)
        return _name_outputs(model, shapes)
    return None


def _is_identity(view: GraphView, shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> bool:
    """Whether a node returns its first input: Identity, a Cast to the same type, or Dropout in inference mode."""
    if not is_standard(node):
        return False
    if node.op_type in ("Cast", "CastLike"):
        before, after = shapes.get(node.input[0]), shapes.get(node.output[0])
        return before is not None and after is not None and before.dtype == after.dtype
    if node.op_type == "Dropout":
        training = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        mask_read = len(node.output) > 1 and (node.output[1] in view.consumers or node.output[1] in view.outputs)
        known = len(node.input) < 3 or not node.input[2] or training is not None
        return known and not (training is not None and bool(np.all(training))) and not mask_read
    return node.op_type == "Identity"


def _apply(model: onnx.ModelProto, rewrite: Rewrite) -> None:
    """Apply a rewrite to all nodes, in place. None keeps a node; a list of nodes replaces it."""
    view = GraphView(model)
    shapes = infer_shapes(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        try:
            replacement = rewrite(view, shapes, node) if is_standard(node) else None
        except Exception as error:
            note_failure(error, _failure(shapes, node))
            raise
        nodes += [node] if replacement is None else replacement
        view.producer.update((name, item) for item in replacement or [] for name in item.output)
    replace_nodes(model.graph, nodes)


def _failure(shapes: dict[str, TensorInfo], node: onnx.NodeProto) -> NodeFailure:
    infos = [(name, shapes.get(name)) for name in node.input if name]
    inputs = tuple("unknown" if info is None else f"{info.dtype} {list(info.shape or ())}" for _, info in infos)
    return NodeFailure(node_name(node), node.op_type, inputs)

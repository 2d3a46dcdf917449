"""Bringing a graph to the form that folding, equalization and quantization expect. The function stays the same."""

import numpy as np
import onnx
from onnx import version_converter

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs import shapes as shape_inference
from faceter.graphs.constants import constants_to_initializers, fold_constants
from faceter.graphs.rewrites import Rewrite, rewrites
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import (
    GraphView,
    all_nodes,
    is_standard,
    opset_of,
    remove_unused,
    replace_nodes,
    subgraphs,
    unique_names,
)

LEAST_OPSET = 13
_LEAST_IR = 8


def canonicalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in canonical form.

    - Opset 13 or later, since DequantizeLinear has an axis from there on.
    - Constants are initializers; what depends on constants alone is computed.
    - Identity, Dropout and casts to the type a tensor has already are gone.
    - A mean over all of space is GlobalAveragePool.
    - MatMul of a matrix by a constant is Gemm; constant biases added after Conv, Gemm and such a MatMul are their own;
      Gemm has neither alpha nor beta, and its bias is a vector.
    - Slices of several axes in a row are one Slice.
    - No two nodes share a name.

    Tensors that remain keep their names, as do inputs and outputs.

    Args:
        model: A checked model; it is not changed.

    Raises:
        FaceterError: UNSUPPORTED_OPSET where ONNX cannot convert an older opset.
    """
    changed = _upgrade(model)
    constants_to_initializers(changed)
    _remove_identities(changed)
    fold_constants(changed)
    for rewrite in rewrites:
        _apply(changed, rewrite)
    for node, name in zip(changed.graph.node, unique_names(changed.graph), strict=True):
        node.name = name
    remove_unused(changed.graph)
    return changed


def _upgrade(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = opset_of(model)
    changed = onnx.ModelProto()
    if opset >= LEAST_OPSET:
        changed.CopyFrom(model)
    else:
        try:
            changed.CopyFrom(version_converter.convert_version(model, LEAST_OPSET))
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            raise FaceterError(
                ProblemKind.UNSUPPORTED_OPSET,
                f"The model states opset {opset} and cannot be converted to {LEAST_OPSET}, which quantized graphs need "
                f"({' '.join(str(error).split())[:200]}). Export it at opset {LEAST_OPSET} or later.",
            ) from error
    changed.ir_version = max(changed.ir_version, _LEAST_IR)
    return changed


def _remove_identities(model: onnx.ModelProto) -> None:
    inner = {
        name
        for node in all_nodes(model.graph)
        for graph in subgraphs(node)
        for item in graph.node
        for name in item.input
    }
    view, found = GraphView(model), shape_inference.infer(model)
    renamed: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if not _passes_through(view, found, node) or node.output[0] in inner:
            kept.append(node)
        elif node.output[0] not in view.outputs:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    replace_nodes(model.graph, kept)
    _name_outputs(model, found)


def _name_outputs(model: onnx.ModelProto, found: dict[str, TensorInfo]) -> None:
    """Drop an Identity before an output of the graph by giving the tensor before it the output's name."""
    view = GraphView(model)
    kept = list(model.graph.node)
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        maker = view.producer.get(source)
        if not _passes_through(view, found, node) or maker is None or source in view.outputs or list(subgraphs(maker)):
            continue
        if any(list(subgraphs(reader)) for reader in view.consumers[source]):
            continue
        target = node.output[0]
        for reader in view.consumers[source]:
            for index, name in enumerate(reader.input):
                reader.input[index] = target if name == source else name
        for index, name in enumerate(maker.output):
            maker.output[index] = target if name == source else name
        kept.remove(node)
        replace_nodes(model.graph, kept)
        return _name_outputs(model, found)
    return None


def _passes_through(view: GraphView, found: dict[str, TensorInfo], node: onnx.NodeProto) -> bool:
    if not is_standard(node):
        return False
    if node.op_type in ("Cast", "CastLike"):
        before, after = found.get(node.input[0]), found.get(node.output[0])
        return before is not None and after is not None and before.dtype == after.dtype
    if node.op_type == "Dropout":
        training = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        mask_read = len(node.output) > 1 and (node.output[1] in view.consumers or node.output[1] in view.outputs)
        decided = len(node.input) < 3 or not node.input[2] or training is not None
        return decided and not (training is not None and bool(np.all(training))) and not mask_read
    return node.op_type == "Identity"


def _apply(model: onnx.ModelProto, rewrite: Rewrite) -> None:
    """Run a rewrite over all nodes; what it returns takes a node's place, None leaves it."""
    view = GraphView(model)
    found = shape_inference.infer(model)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        instead = rewrite(view, found, node) if is_standard(node) else None
        nodes += [node] if instead is None else instead
        view.producer.update((name, item) for item in instead or [] for name in item.output)
    replace_nodes(model.graph, nodes)

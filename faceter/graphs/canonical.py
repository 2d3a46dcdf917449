"""Bringing a graph to the form that folding, equalization and quantization expect. The function stays the same."""

import numpy as np
import onnx
from onnx import numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs import shapes as shape_inference
from faceter.graphs.rewrites import Rewrite, rewrites
from faceter.graphs.shapes import TensorInfo
from faceter.graphs.view import (
    Array,
    GraphView,
    all_nodes,
    attribute,
    constant_value,
    is_standard,
    opset_of,
    remove_unused,
    replace_nodes,
    subgraphs,
    unique_names,
)

LEAST_OPSET = 13
_LEAST_IR = 8
_MOST_FOLDED = 64 * 1024 * 1024
_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


def canonicalize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in canonical form.

    - Opset 13 or later, since DequantizeLinear has an axis from there on.
    - Constants are initializers; what depends on constants alone is computed.
    - Identity and Dropout are gone.
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
    _constants_to_initializers(changed)
    _remove_identities(changed)
    _fold_constants(changed)
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


def _constants_to_initializers(model: onnx.ModelProto) -> None:
    kept = []
    for node in model.graph.node:
        value = constant_value(node)
        if value is None:
            kept.append(node)
        else:
            model.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), node.output[0])
            )
    replace_nodes(model.graph, kept)


def _remove_identities(model: onnx.ModelProto) -> None:
    inner = {
        name
        for node in all_nodes(model.graph)
        for graph in subgraphs(node)
        for item in graph.node
        for name in item.input
    }
    view = GraphView(model)
    renamed: dict[str, str] = {}
    kept = []
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        if not _passes_through(view, node) or node.output[0] in inner:
            kept.append(node)
        elif node.output[0] not in view.outputs:
            renamed[node.output[0]] = node.input[0]
        else:
            kept.append(node)
    replace_nodes(model.graph, kept)
    _name_outputs(model)


def _name_outputs(model: onnx.ModelProto) -> None:
    """Drop an Identity before an output of the graph by giving the tensor before it the output's name."""
    view = GraphView(model)
    kept = list(model.graph.node)
    for node in model.graph.node:
        source = node.input[0] if node.input else ""
        maker = view.producer.get(source)
        if not _passes_through(view, node) or maker is None or source in view.outputs or list(subgraphs(maker)):
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
        return _name_outputs(model)
    return None


def _passes_through(view: GraphView, node: onnx.NodeProto) -> bool:
    if not is_standard(node):
        return False
    if node.op_type == "Dropout":
        training = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        mask_read = len(node.output) > 1 and (node.output[1] in view.consumers or node.output[1] in view.outputs)
        decided = len(node.input) < 3 or not node.input[2] or training is not None
        return decided and not (training is not None and bool(np.all(training))) and not mask_read
    return node.op_type == "Identity"


def _fold_constants(model: onnx.ModelProto) -> None:
    """Compute, with ONNX's reference implementation, what depends on constants and known shapes alone."""
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    found = shape_inference.infer(model)
    kept = []
    for node in model.graph.node:
        value = _folded(node, known, found, model)
        if value is None:
            kept.append(node)
            continue
        tensor = numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), node.output[0])
        model.graph.initializer.append(tensor)
        known[node.output[0]] = tensor
    replace_nodes(model.graph, kept)
    outputs = {value.name for value in model.graph.output}
    for name in outputs & {tensor.name for tensor in model.graph.initializer}:
        held = GraphView(model).unique(f"{name}/constant")
        next(tensor for tensor in model.graph.initializer if tensor.name == name).name = held
        for node in model.graph.node:
            for index, item in enumerate(node.input):
                node.input[index] = held if item == name else item
        model.graph.node.append(onnx.helper.make_node("Identity", [held], [name]))


def _folded(
    node: onnx.NodeProto, known: dict[str, onnx.TensorProto], found: dict[str, TensorInfo], model: onnx.ModelProto
) -> Array | None:
    if not is_standard(node) or node.op_type in _RANDOM or list(subgraphs(node)) or len(node.output) != 1:
        return None
    if node.op_type == "Shape":
        info = found.get(node.input[0])
        if info is not None and info.static is not None and node.input[0] not in known:
            end = attribute(node, "end")
            return np.array(info.static[slice(attribute(node, "start", 0), end)], np.int64)
    names = [name for name in node.input if name]
    result = found.get(node.output[0])
    too_large = result is not None and result.elements is not None and result.elements * 8 > _MOST_FOLDED
    if not all(name in known for name in names) or node.op_type in ("QuantizeLinear", "DequantizeLinear") or too_large:
        return None
    if node.op_type in ("ConstantOfShape", "Expand", "Tile", "Range") and (result is None or result.elements is None):
        return None
    inputs = [
        onnx.helper.make_tensor_value_info(name, known[name].data_type, list(known[name].dims))
        for name in dict.fromkeys(names)
    ]
    graph = onnx.helper.make_graph([node], "fold", inputs, [onnx.helper.make_empty_tensor_value_info(node.output[0])])
    alone = onnx.helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)
    try:
        [value] = ReferenceEvaluator(alone).run(None, {name: numpy_helper.to_array(known[name]) for name in names})
    except (NotImplementedError, RuntimeError, TypeError, ValueError, IndexError):
        return None
    if not isinstance(value, (np.ndarray, np.generic)):
        return None
    array = np.asarray(value)
    if result is not None and array.dtype.name != result.dtype:
        return None
    return array


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

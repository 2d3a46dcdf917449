"""Opening sizes of a graph's inputs that were fixed on export, where its operators take other sizes."""

from collections.abc import Mapping

import onnx

from faceter.graphs.constant_folding import constants_to_initializers, fold_constants
from faceter.graphs.size_constants import note_counts
from faceter.graphs.size_formulas import OpeningContext
from faceter.graphs.size_probes import FixedSizeError, NodeProber, follows, probed_constants, probed_inputs
from faceter.graphs.size_rewrites import open_node
from faceter.graphs.view import GraphView, node_name, opset_of, remove_unused, replace_nodes

_FOLDED_FROM = 13
"""Constants are folded from this opset on."""


def open_sizes(model: onnx.ModelProto, axes: Mapping[str, Mapping[int, str]]) -> onnx.ModelProto:
    """Return a graph that takes any size along some axes of its inputs, and computes the same as before at its own.

    Convolutions, poolings and the like take any size; a Reshape, Expand, Resize or Slice to a constant size is
    rewritten to follow its input. At another size the graph computes what the same network exported at that size would,
    as far as the graph tells. The caller must run it at its own size and at others.

    Args:
        model: A checked model; it is not changed.
        axes: The axes to open, and the names of their sizes, by input.

    Raises:
        FixedSizeError: If an operator takes one size only; the message names it.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    constants_to_initializers(changed)
    inputs = probed_inputs(changed, axes)
    _forget_sizes(changed, axes)
    if opset_of(changed) >= _FOLDED_FROM:
        fold_constants(changed)
    context = OpeningContext(GraphView(changed), {})
    context.add(probed_constants(changed) | inputs)
    prober = NodeProber(changed)
    nodes: list[onnx.NodeProto] = []
    for node in changed.graph.node:
        for replacement in open_node(node, context) or [node]:
            context.add(prober.outputs(replacement, context.tensors))
            note_counts(replacement, context)
            nodes.append(replacement)
    replace_nodes(changed.graph, nodes)
    remove_unused(changed.graph)
    _name_outputs(changed, model, context, axes)
    return changed


def _forget_sizes(model: onnx.ModelProto, axes: Mapping[str, Mapping[int, str]]) -> None:
    """Name the opened sizes of the inputs, in place, and remove what is declared of any other tensor's size."""
    for value in model.graph.input:
        for axis, name in axes.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def _name_outputs(
    changed: onnx.ModelProto, model: onnx.ModelProto, context: OpeningContext, axes: Mapping[str, Mapping[int, str]]
) -> None:
    """Declare the shapes of the outputs: sizes that follow an opened one have its name."""
    names = {
        context.tensors[name].sizes[axis]: symbol for name, opened in axes.items() for axis, symbol in opened.items()
    }
    given = {sizes for value in changed.graph.input for sizes in context.tensors[value.name].sizes} - set(names)
    declared = {value.name: value.type.tensor_type.shape.dim for value in model.graph.output}
    followed = False
    for value in changed.graph.output:
        sizes, before = context.tensors[value.name].sizes, declared[value.name]
        shape: list[int | str | None] = []
        for axis, part in enumerate(sizes):
            symbol = before[axis].dim_param if axis < len(before) else ""
            shape.append(names.get(part) or symbol or (f"{value.name}_{axis}" if follows(part) else part[0]))
            followed |= follows(part) and part not in given
        elem_type = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, elem_type, shape))
    if names and not followed:
        raise FixedSizeError(
            f"the size of the output, of {node_name(changed.graph.node[-1])!r}, does not follow that of the input"
        )

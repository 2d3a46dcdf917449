"""Operators of other domains that ONNX Runtime has, as standard ones that compute the same."""

from collections.abc import Mapping

import onnx

from faceter.graphs import lowering_fused, lowering_ml, lowering_quantized
from faceter.graphs.lowering_context import LoweringContext, Rule
from faceter.graphs.view import is_standard, opset_of, remove_unused, replace_nodes

_OPSET = 17
"""Of the nodes that replace others in a model that has none of the standard operator set."""

_RULES: Mapping[tuple[str, str], Rule] = {
    **{("ai.onnx.ml", name): rule for name, rule in lowering_ml.RULES.items()},
    **{("com.microsoft", name): rule for name, rule in lowering_fused.RULES.items()},
    **{("com.microsoft", name): rule for name, rule in lowering_quantized.RULES.items()},
}

REPLACED: tuple[str, ...] = tuple(sorted(f"{domain}.{operator}" for domain, operator in _RULES))
"""The operators that `lowered` replaces, by domain and name."""


def lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an equivalent model without the nodes of ai.onnx.ml and com.microsoft that standard ones can replace.

    Tensors keep their names. Packed weights of a MatMulNBits become float weights.

    Args:
        model: A checked model; it is not changed.

    Returns:
        The model itself if it has standard nodes only.
    """
    if all(is_standard(node) for node in model.graph.node):
        return model
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    context = LoweringContext(changed)
    nodes: list[onnx.NodeProto] = []
    for node in changed.graph.node:
        rule = _RULES.get((node.domain, node.op_type))
        replacement = None if rule is None else rule(context, node)
        nodes += [node] if replacement is None else replacement
    replace_nodes(changed.graph, nodes)
    if not opset_of(changed) and any(is_standard(node) for node in nodes):
        changed.opset_import.append(onnx.helper.make_opsetid("", _OPSET))
    remove_unused(changed.graph)
    return changed

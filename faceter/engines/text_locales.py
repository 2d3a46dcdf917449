"""The locale of StringNormalizer, by which ONNX Runtime changes the case of texts."""

import onnx

from faceter.graphs.view import all_nodes, is_standard, set_attribute

_EVERYWHERE = "C.UTF-8"
"""A locale that every current Linux has, with Unicode's own case mapping, as that of most languages."""
_MESSAGE = "Failed to construct locale"


def lacks_locale(error: BaseException) -> bool:
    """Whether ONNX Runtime failed for want of a locale on this host; most containers lack its default, en_US."""
    return _MESSAGE in str(error)


def with_available_locale(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a locale for its StringNormalizers that the host has.

    Args:
        model: A model; it is not changed.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for node in all_nodes(changed.graph):
        if node.op_type == "StringNormalizer" and is_standard(node):
            set_attribute(node, "locale", _EVERYWHERE)
    return changed

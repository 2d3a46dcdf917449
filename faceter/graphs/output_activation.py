"""What makes an output: a softmax or sigmoid, whose values are probabilities already, or another operator."""

import onnx

from faceter.graphs.view import GraphView

_PROBABILITIES = frozenset({"Softmax", "Sigmoid", "HardSigmoid", "Hardmax", "QLinearSoftmax", "QLinearSigmoid"})
_SAME_VALUES = frozenset(
    {
        "Cast", "CastLike", "DequantizeLinear", "Dropout", "Flatten", "Identity", "QuantizeLinear", "Reshape",
        "Squeeze", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""Operators that keep values, at most rounded."""
_CLIPS = frozenset({"Clip", "Max", "Min", "Relu"})
"""Operators that bound codes between QuantizeLinear and DequantizeLinear."""


def probability_outputs(model: onnx.ModelProto) -> frozenset[str]:
    """Return the outputs that come from a softmax or a sigmoid, directly or rounded, reshaped or cast after it.

    Their values are probabilities whether they sum to 1 or not: quantization rounds many small ones to 0, and those of
    a sigmoid are independent of each other.

    Args:
        model: A checked model; weights may be packed.
    """
    view = GraphView(model)
    return frozenset(value.name for value in model.graph.output if _is_probability(view, value.name))


def _is_probability(view: GraphView, name: str) -> bool:
    seen = set()
    while name not in seen:
        seen.add(name)
        node = view.producer.get(name)
        if node is None:
            return False
        if node.op_type in _PROBABILITIES:
            return True
        if node.op_type not in _SAME_VALUES | _CLIPS or not node.input:
            return False
        name = node.input[0]
    return False

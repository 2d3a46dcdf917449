"""Models that are quantized already, here or by another tool."""

import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.view import all_nodes, attribute, is_standard, node_name

_STANDARD = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger",
        "MatMulInteger",
    }
)  # fmt: skip
_CONTRIBUTED = frozenset(
    {
        "QuantizeLinear", "DequantizeLinear", "QGemm", "QAttention", "QMoE", "QEmbedLayerNormalization",
        "QOrderedMatMul", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulIntegerToFloat", "MatMulInteger16",
        "MatMulNBits", "MatMulBnb4", "MatMulFpQ4", "GatherBlockQuantized", "QuantizeBFP", "DequantizeBFP",
        "NhwcMaxPool", "ReduceSumInteger", "MulInteger",
    }
)  # fmt: skip
"""Operators of the domain com.microsoft that compute with codes, besides those called QLinear…"""

WEIGHT_INPUTS = {
    "ConvInteger": (1,),
    "DynamicQuantizeLSTM": (1, 2, 3),
    "DynamicQuantizeMatMul": (1,),
    "GatherBlockQuantized": (0,),
    "MatMulBnb4": (1,),
    "MatMulInteger": (0, 1),
    "MatMulIntegerToFloat": (1, 6),
    "MatMulNBits": (1, 5),
    "QAttention": (1, 2),
    "QGemm": (3, 6),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (0, 3),
}
"""Positions of weights and biases among the inputs of operators that compute with codes."""


def codes_per_byte(node: onnx.NodeProto) -> float:
    """Return how many codes a byte of the packed weight of an operator of com.microsoft holds, 1 for any other."""
    if node.op_type in ("MatMulNBits", "GatherBlockQuantized"):
        return 8 / int(attribute(node, "bits", 4))
    return 2.0 if node.op_type == "MatMulBnb4" else 1.0


def is_quantizing(node: onnx.NodeProto) -> bool:
    """Whether a node makes codes, reads codes or computes with them."""
    if is_standard(node):
        return node.op_type in _STANDARD
    return node.domain == "com.microsoft" and (node.op_type in _CONTRIBUTED or node.op_type.startswith("QLinear"))


def is_quantized(model: onnx.ModelProto) -> bool:
    """Whether a model has a node that makes codes, reads codes or computes with them."""
    return any(is_quantizing(node) for node in all_nodes(model.graph))


def check_not_quantized(model: onnx.ModelProto, subject: str = "The model", origin: str | None = None) -> None:
    """Check that a model is a float model.

    Args:
        model: A checked model.
        subject: What the message calls it.
        origin: The float model that it was made from, if known.

    Raises:
        FaceterError: ALREADY_QUANTIZED, with the operators that show it.
    """
    nodes = [node for node in all_nodes(model.graph) if is_quantizing(node)]
    if not nodes:
        return
    operators = ", ".join(sorted({node.op_type for node in nodes})[:4])
    raise already_quantized(subject, origin, f"it has {operators} (first at node {node_name(nodes[0])!r})")


def already_quantized(subject: str, origin: str | None, reason: str) -> FaceterError:
    """Return the error of quantizing a quantized model."""
    return FaceterError(
        ProblemKind.ALREADY_QUANTIZED,
        f"{subject} is already quantized: {reason}. Its weights are rounded to codes, and rounding them again would "
        f"only add error. Quantize {origin or 'the float model'}, from which it was made.",
    )

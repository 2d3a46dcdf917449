"""The operator table of the torch interpreter."""

from workers.operators import (
    activation,
    arithmetic,
    attention,
    casting,
    comparison,
    convolution,
    creation,
    detection,
    indexing,
    joining,
    linear,
    normalization,
    padding,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    shape,
    spectral,
)
from workers.operators.node import TorchOperator

_FAMILIES = (
    activation.OPERATORS,
    arithmetic.OPERATORS,
    attention.OPERATORS,
    casting.OPERATORS,
    comparison.OPERATORS,
    convolution.OPERATORS,
    creation.OPERATORS,
    detection.OPERATORS,
    indexing.OPERATORS,
    joining.OPERATORS,
    linear.OPERATORS,
    normalization.OPERATORS,
    padding.OPERATORS,
    pooling.OPERATORS,
    quantization.OPERATORS,
    recurrent.OPERATORS,
    reduction.OPERATORS,
    resize.OPERATORS,
    sampling.OPERATORS,
    shape.OPERATORS,
    spectral.OPERATORS,
)

OPERATORS: dict[str, TorchOperator] = {
    op_type: operator for family in _FAMILIES for op_type, operator in family.items()
}
"""ONNX operator -> torch implementation."""

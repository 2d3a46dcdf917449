"""Conversion of a model to a newer opset."""

import onnx
from onnx import version_converter

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.view import opset_of


def at_opset(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return an equivalent model of an opset, or the model itself if its opset is as new.

    Args:
        model: A checked model; it is not changed.
        opset: Version of the standard operator set.

    Raises:
        FaceterError: UNSUPPORTED_OPSET where ONNX cannot convert it.
    """
    current = opset_of(model)
    if not current or current >= opset:
        return model
    try:
        return version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise FaceterError(
            ProblemKind.UNSUPPORTED_OPSET,
            f"The model has opset {current} and cannot be converted to {opset}, which jobs need "
            f"({' '.join(str(error).split())[:200]}). Export it at opset {opset} or later; it can still be served.",
        ) from error

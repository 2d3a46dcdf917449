"""Operators of ai.onnx.ml, which converters of scikit-learn write, as standard ones."""

import numpy as np
import onnx

from faceter.graphs.lowering_context import LoweringContext, Replacement, Rule
from faceter.graphs.view import attribute

_FLOAT = onnx.TensorProto.FLOAT


def _scaler(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """(X − offset) · scale, in float32."""
    made = Replacement(context, node)
    offset, scale = attribute(node, "offset", [0.0]), attribute(node, "scale", [1.0])
    x = made.add("Cast", made.input(0), to=_FLOAT)
    shifted = made.add("Sub", x, made.constant(offset))
    return made.finish(made.add("Mul", shifted, made.constant(scale)))


def _array_feature_extractor(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Elements of the last axis; those of a vector as one row."""
    info = context.info(node.input[0])
    if info is None or info.shape is None or info.dtype == "str":
        return None
    made = Replacement(context, node)
    places = made.add("Reshape", made.input(1), made.constant([-1], np.int64))
    if len(info.shape) > 1:
        return made.finish(made.add("Gather", made.input(0), places, axis=-1))
    taken = made.add("Gather", made.input(0), places)
    return made.finish(made.add("Reshape", taken, made.constant([1, -1], np.int64)))


def _normalizer(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """Rows of unit norm."""
    p = {"L1": 1, "L2": 2}.get(str(attribute(node, "norm", "MAX")))
    if p is None:
        return None
    made = Replacement(context, node)
    x = made.add("Cast", made.input(0), to=_FLOAT)
    return made.finish(made.add("LpNormalization", x, axis=-1, p=p))


def _binarizer(context: LoweringContext, node: onnx.NodeProto) -> list[onnx.NodeProto] | None:
    """1 above a threshold, 0 elsewhere."""
    info = context.info(node.input[0])
    if info is None or info.dtype != "float32":
        return None
    made = Replacement(context, node)
    above = made.add("Greater", made.input(0), made.constant(attribute(node, "threshold", 0.0)))
    return made.finish(made.add("Cast", above, to=_FLOAT))


RULES: dict[str, Rule] = {
    "ArrayFeatureExtractor": _array_feature_extractor,
    "Binarizer": _binarizer,
    "Normalizer": _normalizer,
    "Scaler": _scaler,
}
"""Rules by operator."""

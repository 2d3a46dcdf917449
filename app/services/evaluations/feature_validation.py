"""Validation of feature extractors and classifiers for evaluations."""

from typing import Final

import onnx

from app.services.errors import invalid
from app.services.sample_tensors import SampleTensors
from faceter.contracts.models import Model, Task, shape_text
from faceter.graphs.shapes import FLOAT_TYPES
from faceter.vision.metadata import class_output

_NO_CLASSES: Final = (Task.OBJECT_DETECTION, Task.IMAGE_TRANSLATION, Task.TEXT_RECOGNITION)
_LEAST_CLASSES: Final = 2


def check_tensor(model: Model, graph: onnx.ModelProto, name: str, field: str) -> int | None:
    """Check that a tensor can be used as features: floats that depend on the samples, with samples on the first axis.

    Args:
        model: The model's record.
        graph: Its graph, checked.
        name: The tensor.
        field: The field that names it.

    Returns:
        Number of features per sample after averaging all axes after the second; None if unknown.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field, with similar names if the tensor does not exist.
    """
    info = SampleTensors(model, graph).find(name, field, "features", inputs=True)
    if info is None or info.shape is None:
        return None
    width = info.shape[1] if len(info.shape) > 1 else 1
    return width if isinstance(width, int) else None


def check_class_output(model: Model, field: str) -> None:
    """Check that a model outputs class probabilities or logits, floats [N, K] with K of at least 2.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field.
    """
    if model.metadata.task in _NO_CLASSES:
        raise invalid(f"{model.id} is for {model.metadata.task}, which has no classes. Name a classifier.", field)
    output = class_output(model.metadata, model.outputs)
    is_matrix = len(output.shape) == 2 and output.dtype in FLOAT_TYPES
    classes = output.shape[1] if is_matrix else 0
    if isinstance(classes, int) and classes < _LEAST_CLASSES:
        raise invalid(
            f"The output {output.name!r} of {model.id} is {output.dtype} {shape_text(output.shape)}, not "
            f"probabilities or logits of {_LEAST_CLASSES} classes or more, floats [N, classes]. Name another model, or "
            "upload it again with `output` in its metadata.",
            field,
        )

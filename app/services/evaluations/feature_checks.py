"""Whether a model can describe samples by one of its tensors, or tell classes apart."""

from typing import Final

import onnx

from app.services.sources import invalid
from app.services.tensor_checks import FLOATS, SampleTensors, shown
from faceter.contracts.models import Model, Task
from faceter.vision.metadata import class_output

_NO_CLASSES: Final = (Task.OBJECT_DETECTION, Task.IMAGE_TRANSLATION)
_LEAST_CLASSES: Final = 2


def check_tensor(model: Model, graph: onnx.ModelProto, name: str, field: str) -> int | None:
    """See that a tensor can be features of samples: floats that depend on them, one after the other on its first axis.

    Args:
        model: The model's record.
        graph: Its graph, checked.
        name: The tensor.
        field: The field that names it.

    Returns:
        How many values it makes of a sample once all axes after the second are averaged; None where that cannot be
        told.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field, with names that are near where there is no such tensor.
    """
    info = SampleTensors(model, graph).find(name, field, "features", inputs=True)
    if info is None or info.shape is None:
        return None
    width = info.shape[1] if len(info.shape) > 1 else 1
    return width if isinstance(width, int) else None


def check_class_output(model: Model, field: str) -> None:
    """See that a model answers probabilities or logits of classes, floats [N, K] with K of at least 2.

    Args:
        model: The model.
        field: The field that names it.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field.
    """
    if model.metadata.task in _NO_CLASSES:
        raise invalid(f"{model.id} is for {model.metadata.task}, and tells no classes apart. Name a classifier.", field)
    output = class_output(model.metadata, model.outputs)
    of_rows = len(output.shape) == 2 and output.dtype in FLOATS
    classes = output.shape[1] if of_rows else 0
    if isinstance(classes, int) and classes < _LEAST_CLASSES:
        raise invalid(
            f"The output {output.name!r} of {model.id} is {output.dtype} {shown(output.shape)}, not probabilities or "
            f"logits of {_LEAST_CLASSES} classes or more, floats [N, classes]. Name another model, or upload it again "
            "with `output` in its metadata.",
            field,
        )

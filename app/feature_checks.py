"""Whether a model can describe samples by one of its tensors, or tell classes apart."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

import onnx

from app.request_checks import invalid
from faceter.contracts.models import Model, Task
from faceter.datasets.samples import first_few
from faceter.graphs import shapes
from faceter.graphs.describe import input_specs
from faceter.graphs.view import inputs_used
from faceter.vision.metadata import class_output

_FLOATS: Final = ("float16", "bfloat16", "float32", "float64")
_NO_CLASSES: Final = (Task.OBJECT_DETECTION, Task.IMAGE_TRANSLATION)
_LEAST_CLASSES: Final = 2
_ANY_BATCH: Final = 7
_MOST_ECHOED: Final = 200


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
    computed = _computed(graph)
    if name not in computed:
        near = get_close_matches(name, computed, n=5)
        hint = f"Near it: {first_few(near)}." if near else f"GET /v1/models/{model.id}/graph lists those there are."
        if name in _fixed(graph):
            raise invalid(f"{name!r} of {model.id} is a weight, the same for every sample. {hint}", field)
        raise invalid(f"{model.id} has no tensor {name[:_MOST_ECHOED]!r}. {hint}", field)
    info = shapes.infer(graph, batch=_ANY_BATCH).get(name)
    if info is None:
        return None
    if info.dtype not in _FLOATS:
        raise invalid(f"{name!r} is {info.dtype}; features are floats. Name another tensor.", field)
    if info.shape is None:
        return None
    samples = _fixed_batch(graph) or _ANY_BATCH
    first = info.shape[0] if info.shape else None
    if not info.shape or (isinstance(first, int) and first != samples):
        raise invalid(
            f"{name!r} is {_shown(info.shape)} for {samples} samples: its first axis is not that of the samples. Name "
            "another tensor.",
            field,
        )
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
    of_rows = len(output.shape) == 2 and output.dtype in _FLOATS
    classes = output.shape[1] if of_rows else 0
    if isinstance(classes, int) and classes < _LEAST_CLASSES:
        raise invalid(
            f"The output {output.name!r} of {model.id} is {output.dtype} {_shown(output.shape)}, not probabilities or "
            f"logits of {_LEAST_CLASSES} classes or more, floats [N, classes]. Name another model, or upload it again "
            "with `output` in its metadata.",
            field,
        )


def _computed(graph: onnx.ModelProto) -> list[str]:
    """Return the tensors that depend on an input, inputs included, in the order they are made."""
    found = dict.fromkeys(spec.name for spec in input_specs(graph))
    for node in graph.graph.node:
        if any(name in found for name in inputs_used(node)):
            found.update(dict.fromkeys(name for name in node.output if name))
    return list(found)


def _fixed(graph: onnx.ModelProto) -> set[str]:
    """Return weights, and what is made of them alone; to be asked of what `_computed` does not have."""
    return {tensor.name for tensor in graph.graph.initializer} | {
        name for node in graph.graph.node for name in node.output
    }


def _fixed_batch(graph: onnx.ModelProto) -> int | None:
    """Return the batch a model was exported for, None where it is open."""
    firsts = (spec.shape[0] for spec in input_specs(graph) if spec.shape)
    return next((first for first in firsts if isinstance(first, int)), None)


def _shown(shape: Sequence[int | str | None]) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"

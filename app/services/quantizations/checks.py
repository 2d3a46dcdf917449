"""Whether a quantization's method, its budget, its target and the model go together. Nothing here asks the store."""

from typing import Final

import onnx

from app.services.sources import invalid
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.graphs.describe import input_specs
from faceter.graphs.fold import has_batch_norm
from faceter.graphs.shapes import value_info
from faceter.vision.metadata import image_input

_TUNED: Final = [method.value for method in QuantizationMethod if method.tuned]
_NOT_TUNED: Final = [method.value for method in QuantizationMethod if not method.tuned]
_NEED_BATCH_NORM: Final = (QuantizationMethod.ZEROQ, QuantizationMethod.GDFQ)
_GENERATED_BY_CLASS: Final = (Task.IMAGE_CLASSIFICATION, Task.SIGNAL_CLASSIFICATION)
_BUDGETS: Final = ("max_minutes", "max_steps")


def check_said(request: QuantizationRequest) -> None:
    """See that bits and a target, which chooses them, are not both given.

    For a request as it came; one that was kept says every field.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field of the bits.
    """
    if request.target is None:
        return
    for field in ("weight_bits", "activation_bits"):
        if field in request.model_fields_set:
            raise invalid(
                f"A target chooses the bits of each layer, so `{field}` cannot be given beside it. Leave one of the "
                "two out.",
                field,
            )


def check_settings(request: QuantizationRequest, settings: Settings) -> None:
    """See that budget, target and datasets go with the method, and the budget with the operator's limits.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field at fault.
    """
    method = request.method
    if request.max_minutes is not None and request.max_steps is not None:
        raise invalid("Give either max_minutes or max_steps; each is a budget of its own.", "max_steps")
    for field in _BUDGETS:
        if getattr(request, field) is not None and not method.tuned:
            raise invalid(
                f"{method} does not tune, so there is nothing for {field} to limit. Leave it out, or choose one of "
                f"{_listed(_TUNED)}.",
                field,
            )
    if request.target is not None and not method.tuned:
        raise invalid(
            f"A target needs a method that tunes: {_listed(_TUNED)}. With {method}, give bits instead.", "target"
        )
    most = min(settings.max_tuning_minutes, settings.job_timeout_seconds / 60)
    if request.max_minutes is not None and request.max_minutes > most:
        raise invalid(f"This server tunes for {most:g} minutes at most.", "max_minutes")
    if request.max_steps is not None and request.max_steps > settings.max_tuning_steps:
        raise invalid(f"This server takes {settings.max_tuning_steps:,} steps at most.", "max_steps")
    if method is QuantizationMethod.FT and request.calibration_dataset_id is None:
        raise invalid(
            "ft tunes on inputs of your own, whose labels it does not use: name a dataset of them. Without any, use "
            "auto.",
            "calibration_dataset_id",
        )


def check_method(method: QuantizationMethod, metadata: ModelMetadata, model: onnx.ModelProto) -> None:
    """See that a method can work on a model.

    Args:
        method: The method.
        metadata: What was said about the model.
        model: The checked model in canonical form.

    Raises:
        FaceterError: `METHOD_NOT_APPLICABLE` on field `method`, with the methods that do work as `methods`.
    """
    if not method.tuned:
        return
    size = _open_size(metadata, model)
    if size is not None:
        raise _not_applicable(
            f"Tuning makes inputs of one size, and the model leaves {size} open. Export it with a fixed size (the "
            "batch may vary) or, if it takes images, upload it with preprocessing.size in its metadata. Methods that "
            f"work as it is: {_listed(_NOT_TUNED)}.",
            _NOT_TUNED,
        )
    batch_norm = has_batch_norm(model)
    works = [
        other.value
        for other in QuantizationMethod
        if (batch_norm or other not in _NEED_BATCH_NORM)
        and (metadata.task in _GENERATED_BY_CLASS or other is not QuantizationMethod.GDFQ)
    ]
    if method in works:
        return
    if not batch_norm:
        why = (
            f"{method} makes its inputs from the statistics of BatchNormalization, and the model has none of these. "
            "If its exporter folded them away, export it again with them"
        )
    else:
        why = (
            f"gdfq makes inputs for each class, and the model's task is {metadata.task}, not "
            f"{' or '.join(_GENERATED_BY_CLASS)}. If it does tell classes apart, upload it with that task"
        )
    raise _not_applicable(f"{why}; or choose a method that works as it is: {_listed(works)}.", works)


def _open_size(metadata: ModelMetadata, model: onnx.ModelProto) -> str | None:
    """Return words for a size of an input that neither the model nor its metadata tells; None if all are known."""
    specs = input_specs(model)
    image = image_input(metadata.preprocessing, specs).name if metadata.preprocessing else None
    names = {spec.name for spec in specs} - {image}
    for value in model.graph.input:
        if value.name not in names:
            continue
        info = value_info(value)
        if info is None or info.shape is None:
            return f"the shape of its input {value.name!r}"
        for axis, size in enumerate(info.shape[1:], start=1):
            if not isinstance(size, int):
                called = f" ({size})" if size else ""
                return f"the size of axis {axis}{called} of its input {value.name!r}"
    return None


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _not_applicable(detail: str, methods: list[str]) -> FaceterError:
    return FaceterError(ProblemKind.METHOD_NOT_APPLICABLE, detail, field="method", methods=methods)

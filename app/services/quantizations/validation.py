"""Validation of quantization requests: method, budget, target and model. Does not access the store."""

from typing import Final

import onnx

from app.services.errors import invalid
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.quantizations import QuantizationMethod, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.graphs.batch_norm_folding import has_batch_norm

_TUNED: Final = [method.value for method in QuantizationMethod if method.tuned]
_NOT_TUNED: Final = [method.value for method in QuantizationMethod if not method.tuned]
_NEED_BATCH_NORM: Final = (QuantizationMethod.ZEROQ, QuantizationMethod.GDFQ)
_GENERATED_BY_CLASS: Final = (Task.IMAGE_CLASSIFICATION, Task.SIGNAL_CLASSIFICATION)
_BUDGETS: Final = ("max_minutes", "max_steps")


def validate_options(request: QuantizationRequest) -> None:
    """Check that a request does not give both bits and a target, which chooses them.

    For new requests only: in stored ones every field is set.

    Raises:
        FaceterError: `INVALID_REQUEST` on the bits field.
    """
    if request.target is None:
        return
    for field in ("weight_bits", "activation_bits"):
        if field in request.model_fields_set:
            raise invalid(
                f"A target chooses the bits of each layer, so `{field}` cannot be given as well. Leave one of them "
                "out.",
                field,
            )


def validate_settings(request: QuantizationRequest, settings: Settings) -> None:
    """Check that budget, target and datasets suit the method, and that the budget is within the operator's limits.

    Raises:
        FaceterError: `INVALID_REQUEST` on the invalid field.
    """
    method = request.method
    if request.max_minutes is not None and request.max_steps is not None:
        raise invalid("Give either max_minutes or max_steps, not both.", "max_steps")
    for field in _BUDGETS:
        if getattr(request, field) is not None and not method.tuned:
            raise invalid(
                f"{method} does not tune, so there is nothing for {field} to limit. Leave it out, or choose one of "
                f"{_join_names(_TUNED)}.",
                field,
            )
    if request.target is not None and not method.tuned:
        raise invalid(
            f"A target needs a method that tunes: {_join_names(_TUNED)}. With {method}, give bits instead.", "target"
        )
    most = min(settings.max_tuning_minutes, settings.job_timeout_seconds / 60)
    if request.max_minutes is not None and request.max_minutes > most:
        raise invalid(f"The limit of this server is {most:g} minutes of tuning.", "max_minutes")
    if request.max_steps is not None and request.max_steps > settings.max_tuning_steps:
        raise invalid(f"The limit of this server is {settings.max_tuning_steps:,} steps.", "max_steps")
    if method is QuantizationMethod.FT and request.calibration_dataset_id is None:
        raise invalid(
            "ft tunes on your own inputs (without labels): name a dataset of them. Without a dataset, use auto.",
            "calibration_dataset_id",
        )


def validate_method(method: QuantizationMethod, metadata: ModelMetadata, model: onnx.ModelProto) -> None:
    """Check that a method is applicable to a model.

    Args:
        model: The checked model in canonical form.

    Raises:
        FaceterError: `METHOD_NOT_APPLICABLE` on field `method`, with the applicable ones as `methods`.
    """
    if not method.tuned:
        return
    batch_norm = has_batch_norm(model)
    applicable = [
        other.value
        for other in QuantizationMethod
        if (batch_norm or other not in _NEED_BATCH_NORM)
        and (metadata.task in _GENERATED_BY_CLASS or other is not QuantizationMethod.GDFQ)
    ]
    if method in applicable:
        return
    if not batch_norm:
        why = (
            f"{method} generates its inputs from the statistics of BatchNormalization, which the model does not have. "
            "If its exporter folded them, export it again without folding"
        )
    else:
        why = (
            f"gdfq generates inputs for each class, and the model's task is {metadata.task}, not "
            f"{' or '.join(_GENERATED_BY_CLASS)}. If it is a classifier, upload it with that task"
        )
    raise _not_applicable(f"{why}; or choose an applicable method: {_join_names(applicable)}.", applicable)


def _join_names(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _not_applicable(detail: str, methods: list[str]) -> FaceterError:
    return FaceterError(ProblemKind.METHOD_NOT_APPLICABLE, detail, field="method", methods=methods)

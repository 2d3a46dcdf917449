"""Validation of the input shapes of a request, by running the model."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Final

import onnx

from app.services.core import Core
from app.services.errors import invalid
from app.services.job_inputs import JobInputs
from faceter.contracts.errors import FaceterError
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.models import Model
from faceter.contracts.settings import Settings
from faceter.engines.input_shapes import choose_input_shapes, with_input_shapes
from faceter.graphs.open_axes import open_axes
from faceter.vision.metadata import image_input

FIELD: Final = "input_shapes"


def validate_input_shapes(
    core: Core,
    model: Model,
    graph: Callable[[], onnx.ModelProto],
    shapes: Mapping[str, Sequence[int]] | None,
    *,
    given_by_data: bool = False,
    field: str = FIELD,
) -> None:
    """Check that the model runs at the shapes of a request, or that shapes are known where it has open sizes.

    Args:
        core: Engine and limits.
        model: The model's record.
        graph: Returns its graph that jobs work on; called if there is something to check.
        shapes: Shapes by input; None if the request gives none.
        given_by_data: Whether a dataset of the request gives them.
        field: The field with the shapes.

    Raises:
        FaceterError: `INVALID_REQUEST` on the field.
    """
    if not shapes and (given_by_data or model.input_shapes or not _has_open_sizes(model)):
        return
    metadata = with_input_shapes(model.metadata, model.inputs, shapes)
    with core.sessions.use(model.sha256, lambda: core.library.blobs.read(model.sha256), model.quantization) as loaded:
        try:
            choose_input_shapes(
                loaded,
                graph(),
                metadata,
                seconds=core.settings.inference_seconds,
                most_values=core.settings.max_tensor_values,
                field=field,
            )
        except FaceterError as error:
            raise invalid(error.detail, error.errors[0].field if error.errors else field) from error


def validate_feature_shapes(core: Core, inputs: JobInputs, features: FeatureSource | None) -> None:
    """Check that a feature extractor runs at the shapes of a request; see `validate_input_shapes`."""
    if features is not None and features.input_shapes:
        model = inputs.model(features.model_id, "features.model_id")
        validate_input_shapes(
            core, model, lambda: inputs.graph(model), features.input_shapes, field=f"features.{FIELD}"
        )


def validate_image_shape(model: Model, shapes: Mapping[str, Sequence[int]], settings: Settings) -> None:
    """Check the shape of the image input of a prediction against the file, without running the model.

    Raises:
        FaceterError: `INVALID_REQUEST` on `input_shapes`.
    """
    preprocessing = model.metadata.preprocessing
    if preprocessing is None:
        raise invalid(f"{model.id} has no preprocessing, so it takes tensors, whose shapes are their own.", FIELD)
    spec = image_input(preprocessing, model.inputs)
    for name, shape in shapes.items():
        if name != spec.name:
            raise invalid(f"The images of {model.id} are its input {spec.name!r}; {name!r} has no shape here.", FIELD)
        sizes = list(zip(spec.shape[1:], shape[1:], strict=False))
        fits = all(not isinstance(fixed, int) or fixed == size for fixed, size in sizes)
        channels = shape[-1 if preprocessing.channels_last else 1] if len(shape) > 1 else 0
        if len(shape) != len(spec.shape) or not fits or channels != preprocessing.channels:
            raise invalid(f"The input {name!r} is {spec.shape}; the shape given is {list(shape)}.", f"{FIELD}.{name}")
        if prod(shape[1:]) > settings.max_tensor_values:
            raise invalid(f"The shape {list(shape)} exceeds the memory of this server.", f"{FIELD}.{name}")


def _has_open_sizes(model: Model) -> bool:
    """Whether an input that is no image has an open size besides the batch."""
    preprocessing = model.metadata.preprocessing
    return any(
        open_axes(spec.shape[1:])
        for spec in model.varying_inputs
        if preprocessing is None or (len(spec.shape) != len(preprocessing.shape) + 1)
    )

"""Inputs of an image model beside the image: constants of its metadata, and the size of the image."""

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, TensorSpec
from faceter.engines.base import Array


def further_inputs(model: Model, image: TensorSpec, rows: int, input_size: tuple[int, int]) -> dict[str, Array]:
    """Return the inputs of a model beside that of the image.

    Args:
        model: A model that takes images.
        image: Its input for the image.
        rows: Number of images.
        input_size: Height and width of the input, pixels.

    Raises:
        FaceterError: `INVALID_INPUT` if it is not known what an input is given.
    """
    constants = model.metadata.constant_inputs or {}
    detection = model.metadata.detection
    sizes = (detection.size_inputs if detection is not None else None) or {}
    height, width = input_size
    values = {"width_height": [width, height], "height_width": [height, width], "one": [1, 1]}
    given: dict[str, Array] = {}
    for spec in model.inputs:
        if spec.name == image.name:
            continue
        if spec.name in sizes:
            given[spec.name] = np.tile(np.array([values[sizes[spec.name]]], spec.dtype), (rows, 1))
        elif spec.name in constants:
            shape = [size if isinstance(size, int) else 1 for size in spec.shape]
            given[spec.name] = np.full(shape, constants[spec.name], spec.dtype)
        else:
            names = ", ".join(item.name for item in model.inputs)
            raise FaceterError(
                ProblemKind.INVALID_INPUT, f'The model has several inputs ({names}); send JSON: {{"inputs": {{…}}}}.'
            )
    return given

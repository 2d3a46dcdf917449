"""What `predict` is given, as the body of a request; and the outputs of its answer as arrays."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from faceter.client.calls import ApiCall
from faceter.client.files import FilePart
from faceter.client.images import as_array, image_file, is_array, is_image_array, is_pillow_image
from faceter.contracts.models import Model
from faceter.contracts.predictions import Prediction

TOKENIZER: Final = "tokenizer.json"

_IMAGE_TYPES: Final = (bytes, bytearray, memoryview, os.PathLike)


def deadline_header(seconds: float | None) -> dict[str, str]:
    """Return the header that tells after how many seconds the answer is of no use."""
    return {} if seconds is None else {"X-Request-Timeout": str(seconds)}


def prediction_call(model: Model, inputs: Any, options: Mapping[str, Any], deadline: float | None = None) -> ApiCall:
    """Return the call that runs a model.

    Args:
        model: The model; if it has a tokenizer, a string is a text, else the path of an image.
        inputs: See `predict` of a model.
        options: Query parameters.
        deadline: Seconds after which the answer is of no use.

    Raises:
        TypeError: If they are no inputs.
        ValueError: If a number is not finite, or there are no inputs.
    """
    path, headers = f"/v1/models/{model.id}/predict", deadline_header(deadline)
    texts = _texts(inputs) if TOKENIZER in model.files else None
    if texts is not None:
        return ApiCall("POST", path, query=options, json=texts, headers=headers)
    images = _images(inputs, model)
    if images is not None:
        parts = [image_file(image) for image in images]
        files = tuple(FilePart("file", name, content) for name, content in parts)
        return ApiCall("POST", path, query=options, files=files, headers=headers)
    return ApiCall("POST", path, query=options, json={"inputs": _tensors(inputs, model)}, headers=headers)


def images_call(path: str, images: Sequence[Any], options: Mapping[str, Any], headers: Mapping[str, str]) -> ApiCall:
    """Return the call that sends images."""
    parts = [image_file(image) for image in images]
    files = tuple(FilePart("file", name, content) for name, content in parts)
    return ApiCall("POST", path, query=options, files=files, headers=headers)


def _texts(inputs: Any) -> dict[str, Any] | None:
    """Return texts or pairs of texts as a body; None for other inputs."""
    if isinstance(inputs, str):
        return {"texts": [inputs]}
    if not isinstance(inputs, Sequence) or isinstance(inputs, (bytes, bytearray)) or not inputs:
        return None
    if all(isinstance(item, str) for item in inputs):
        return {"texts": list(inputs)}
    if all(isinstance(item, (list, tuple)) and [type(part) for part in item] == [str, str] for item in inputs):
        return {"text_pairs": [list(item) for item in inputs]}
    return None


def is_image(value: object) -> bool:
    """Return whether a value is an image in one of the forms that are sent as files."""
    return isinstance(value, (str, *_IMAGE_TYPES)) or is_pillow_image(value) or is_image_array(value)


def _images(inputs: Any, model: Model) -> list[Any] | None:
    """Return the images of the inputs; None for tensors."""
    takes_images = model.metadata.preprocessing is not None
    if isinstance(inputs, (str, *_IMAGE_TYPES)) or is_pillow_image(inputs):
        return [inputs]
    if is_array(inputs):
        if not takes_images:
            return None
        array = as_array(inputs)
        if array.ndim == 4 and len(array) and is_image_array(array[0]):
            return list(array)
        return [inputs] if is_image_array(inputs) else None
    if isinstance(inputs, Mapping) or not isinstance(inputs, Sequence):
        return None
    if not inputs:
        raise ValueError("There is nothing to predict: the list is empty.")
    return list(inputs) if all(is_image(item) and (takes_images or not is_array(item)) for item in inputs) else None


def _tensors(inputs: Any, model: Model) -> dict[str, Any]:
    """Return tensors as nested lists by name of the input."""
    if not isinstance(inputs, Mapping):
        if not is_array(inputs) and not isinstance(inputs, (list, tuple)):
            raise TypeError(
                "The inputs are images, texts, an array, or a dictionary of arrays by name of the input, "
                f"not {type(inputs).__name__}."
            )
        names = [spec.name for spec in model.varying_inputs]
        if len(names) != 1:
            raise TypeError(f"The model has {len(names)} inputs: give a dictionary with {', '.join(names)}.")
        inputs = {names[0]: inputs}
    lists = {str(name): _nested(value) for name, value in inputs.items()}
    try:
        json.dumps(lists, allow_nan=False)
    except ValueError as error:
        raise ValueError("Every number of the inputs must be finite; JSON has no NaN and no infinity.") from error
    return lists


def _nested(value: Any) -> Any:
    if is_array(value):
        return as_array(value).tolist()
    if isinstance(value, (list, tuple)):
        return [_nested(item) for item in value]
    return value


def with_arrays(prediction: Prediction, model: Model) -> Prediction:
    """Return a prediction with its outputs as arrays of the model's types; as they are where NumPy is not installed.

    A missing number, which JSON writes as null, becomes NaN.
    """
    if prediction.outputs is None:
        return prediction
    try:
        import numpy as np
    except ImportError:
        return prediction
    dtypes = {spec.name: spec.dtype for spec in model.outputs}
    outputs = {name: _as_output(np, value, dtypes.get(name, "")) for name, value in prediction.outputs.items()}
    return prediction.model_copy(update={"outputs": outputs})


def _as_output(np: Any, value: Any, dtype: str) -> Any:
    if "(" in dtype or not dtype:
        return value
    if dtype == "str":
        return np.array(value, dtype=object)
    return np.array(value, dtype="float32" if dtype == "bfloat16" else dtype)

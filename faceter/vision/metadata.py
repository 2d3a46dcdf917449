"""Checks a model's metadata, given by the user, against its inputs and outputs."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError, FieldProblem, ProblemKind
from faceter.contracts.models import ModelMetadata, Task, TensorSpec, shape_text
from faceter.contracts.preprocessing import Preprocessing
from faceter.vision.decoding_check import decoding_problems
from faceter.vision.preprocess import value_table

_FIELD = "metadata"
_IMAGE_TASKS = (
    Task.IMAGE_CLASSIFICATION,
    Task.OBJECT_DETECTION,
    Task.IMAGE_TRANSLATION,
    Task.TEXT_RECOGNITION,
)
_IMAGE_DTYPES = ("float16", "float32", "float64", "uint8")
_MOST_PIXEL: Final = 255


def check_metadata(metadata: ModelMetadata, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Raise if the metadata contradict the model; dynamic sizes match anything.

    Args:
        metadata: Given on upload.
        inputs: The model's inputs, without initializers.
        outputs: The model's outputs.

    Raises:
        FaceterError: ``METADATA_MISMATCH``, with each field at fault.
    """
    problems = [*_input_problems(metadata, inputs), *_output_problems(metadata, outputs)]
    if metadata.detection is not None:
        size = metadata.preprocessing.size if metadata.preprocessing else None
        input_size = (size[0], size[1]) if size else None
        problems += _size_input_problems(metadata.detection, inputs)
        problems += decoding_problems(metadata.detection, outputs, metadata.labels, input_size, f"{_FIELD}.detection")
    if problems:
        detail = " ".join(problem.message for problem in problems)
        raise FaceterError(ProblemKind.METADATA_MISMATCH, detail, errors=problems)


def image_input(preprocessing: Preprocessing, inputs: Sequence[TensorSpec]) -> TensorSpec:
    """Return the input for the image: the one named, else the only one of rank 4.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if there is no such input, or several.
    """
    field = f"{_FIELD}.preprocessing.input"
    if preprocessing.input is not None:
        for spec in inputs:
            if spec.name == preprocessing.input:
                return spec
        message = f"The model has no input '{preprocessing.input}'; it has {_names(inputs)}."
        raise FaceterError(ProblemKind.METADATA_MISMATCH, message, field=field)
    of_rank_4 = [spec for spec in inputs if len(spec.shape) == 4]
    if len(of_rank_4) == 1:
        return of_rank_4[0]
    if of_rank_4:
        message = f"Several inputs could take an image; name one of {_names(of_rank_4)}."
    else:
        message = f"No input of the model is [N, C, H, W] or [N, H, W, C], as an image needs; it has {_shapes(inputs)}."
    raise FaceterError(ProblemKind.METADATA_MISMATCH, message, field=field)


def class_output(metadata: ModelMetadata, outputs: Sequence[TensorSpec]) -> TensorSpec:
    """Return the output that holds the class scores: the one named, else the first.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if the one named does not exist.
    """
    if metadata.output is None:
        return outputs[0]
    for spec in outputs:
        if spec.name == metadata.output:
            return spec
    message = f"The model has no output '{metadata.output}'; it has {_names(outputs)}."
    raise FaceterError(ProblemKind.METADATA_MISMATCH, message, field=f"{_FIELD}.output")


def _input_problems(metadata: ModelMetadata, inputs: Sequence[TensorSpec]) -> Iterator[FieldProblem]:
    if metadata.preprocessing is not None:
        yield from _preprocessing_problems(metadata.preprocessing, inputs)
    elif metadata.task in _IMAGE_TASKS and not any(spec.dtype in _IMAGE_DTYPES for spec in inputs):
        message = f"The task {metadata.task} needs an input for images, but the model takes {_shapes(inputs)}."
        yield FieldProblem(field=f"{_FIELD}.task", message=message)


def _preprocessing_problems(preprocessing: Preprocessing, inputs: Sequence[TensorSpec]) -> Iterator[FieldProblem]:
    field = f"{_FIELD}.preprocessing"
    try:
        spec = image_input(preprocessing, inputs)
    except FaceterError as error:
        yield from error.errors
        return
    if spec.dtype not in _IMAGE_DTYPES:
        message = f"Input '{spec.name}' takes {spec.dtype}; an image needs one of {', '.join(_IMAGE_DTYPES)}."
        yield FieldProblem(field=f"{field}.input", message=message)
    else:
        yield from _integer_problems(preprocessing, spec, field)
    if not spec.shape:
        return
    if len(spec.shape) != 4:
        message = f"Input '{spec.name}' is {shape_text(spec.shape)}; an image needs [N, C, H, W] or [N, H, W, C]."
        yield FieldProblem(field=f"{field}.input", message=message)
        return
    yield from _shape_problems(preprocessing, spec, field)


def _shape_problems(preprocessing: Preprocessing, spec: TensorSpec, field: str) -> Iterator[FieldProblem]:
    last = preprocessing.channels_last
    (channels, height, width) = [spec.shape[axis] for axis in ((3, 1, 2) if last else (1, 2, 3))]
    axes = "[N, H, W, C] (channels last)" if last else "[N, C, H, W]"
    if isinstance(channels, int) and channels != preprocessing.channels:
        order = preprocessing.channel_order
        message = (
            f"{order} has {preprocessing.channels} channels, but input '{spec.name}' is {shape_text(spec.shape)}, read "
            f"as {axes}."
        )
        yield FieldProblem(field=f"{field}.channel_order", message=message)
    sides = zip((height, width), preprocessing.size, strict=True)
    if any(isinstance(actual, int) and actual != given for actual, given in sides):
        message = (
            f"The size {preprocessing.size} (height, width) is not that of input '{spec.name}', "
            f"{shape_text(spec.shape)}, read as {axes}."
        )
        yield FieldProblem(field=f"{field}.size", message=message)


def _integer_problems(preprocessing: Preprocessing, spec: TensorSpec, field: str) -> Iterator[FieldProblem]:
    """Yield a problem if the values of an input of whole numbers would lose what the pixels hold."""
    if np.dtype(spec.dtype).kind == "f":
        return
    values = value_table(preprocessing)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > _MOST_PIXEL or not np.allclose(values, np.rint(values), atol=1e-3):
        message = (
            f"Input '{spec.name}' takes {spec.dtype}, but with these scale, mean and std values are from {low:.4g} to "
            f"{high:.4g}. Whole pixel values need scale 1, mean [0] and std [1]."
        )
        yield FieldProblem(field=f"{field}.scale", message=message)


def _size_input_problems(detection: DetectionDecoding, inputs: Sequence[TensorSpec]) -> Iterator[FieldProblem]:
    specs = {spec.name: spec for spec in inputs}
    for name in detection.size_inputs or {}:
        spec = specs.get(name)
        fits = spec is not None and len(spec.shape) == 2 and (spec.shape[1] == 2 or not isinstance(spec.shape[1], int))
        if not fits:
            message = f"The model has no input '{name}' of the shape [N, 2]; it has {_shapes(inputs)}."
            yield FieldProblem(field=f"{_FIELD}.detection.size_inputs", message=message)


def _output_problems(metadata: ModelMetadata, outputs: Sequence[TensorSpec]) -> Iterator[FieldProblem]:
    if metadata.detection is not None and metadata.task is not Task.OBJECT_DETECTION:
        message = f"A detection decoding is for the task {Task.OBJECT_DETECTION}, not {metadata.task}."
        yield FieldProblem(field=f"{_FIELD}.detection", message=message)
    labels = None if metadata.task is Task.TEXT_RECOGNITION else metadata.labels
    if labels is not None and len(set(labels)) < len(labels):
        duplicate = next(label for label in labels if labels.count(label) > 1)
        yield FieldProblem(field=f"{_FIELD}.labels", message=f"The label '{duplicate}' is there twice.")
    try:
        spec = class_output(metadata, outputs)
    except FaceterError as error:
        yield from error.errors
        return
    if metadata.task.classifies:
        yield from _class_problems(metadata, spec)
    if metadata.task is Task.TEXT_RECOGNITION:
        yield from _character_problems(metadata, spec)


def _class_problems(metadata: ModelMetadata, spec: TensorSpec) -> Iterator[FieldProblem]:
    if not spec.shape:
        return
    has_classes = len(spec.shape) >= 2 and all(size == 1 or not isinstance(size, int) for size in spec.shape[2:])
    if not has_classes:
        message = (
            f"The task {metadata.task} needs an output [N, classes], but '{spec.name}' is {shape_text(spec.shape)}."
        )
        yield FieldProblem(field=f"{_FIELD}.output" if metadata.output else f"{_FIELD}.task", message=message)
        return
    classes = spec.shape[1]
    if not isinstance(classes, int):
        return
    if metadata.labels is not None and len(metadata.labels) != classes:
        message = f"There are {len(metadata.labels)} labels, but output '{spec.name}' has {classes} classes."
        yield FieldProblem(field=f"{_FIELD}.labels", message=message)


def _character_problems(metadata: ModelMetadata, spec: TensorSpec) -> Iterator[FieldProblem]:
    if len(spec.shape) not in (0, 3) or spec.dtype.startswith(("sequence", "map")):
        message = (
            f"The task {metadata.task} needs an output [N, steps, 1 + characters], but '{spec.name}' is {spec.dtype} "
            f"{shape_text(spec.shape)}."
        )
        yield FieldProblem(field=f"{_FIELD}.output" if metadata.output else f"{_FIELD}.task", message=message)
        return
    classes = spec.shape[2] if spec.shape else None
    if metadata.labels is not None and isinstance(classes, int) and classes != len(metadata.labels) + 1:
        message = (
            f"There are {len(metadata.labels)} characters, but output '{spec.name}' has {classes} classes, the blank "
            "among them."
        )
        yield FieldProblem(field=f"{_FIELD}.labels", message=message)


def _names(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"'{spec.name}'" for spec in specs)


def _shapes(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"'{spec.name}' {spec.dtype} {shape_text(spec.shape)}" for spec in specs)

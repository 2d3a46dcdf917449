"""Checks that a model is a generator: it maps an image to one of the same size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, Task, TensorSpec, shape_text
from faceter.contracts.preprocessing import ChannelOrder
from faceter.engines.base import Array, Engine, Interrupt, LoadedModel
from faceter.graphs.layouts import PLAIN

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Candidates for the number that heights and widths must be multiples of."""

_TASKS = (Task.IMAGE_TRANSLATION, Task.OTHER)
_MIN_TRIAL_SIDE = 32
_HINT = "Upload a generator whose input and output are both float32 [N, 3, H, W]."


@dataclass(frozen=True)
class GeneratorSignature:
    """Input and output of a generator, and the image sizes it accepts.

    Attributes:
        input: Name of the input for the image.
        output: Name of the output with the translation.
        size: The only height and width it accepts; None if they are dynamic.
        multiple: Smallest power of two, up to 256, that heights and widths must be multiples of; 1 for a fixed size.
        min_side: Smallest height and width that was tried; smaller ones may be too small for the padding inside.
    """

    input: str
    output: str
    size: tuple[int, int] | None
    multiple: int
    min_side: int


def check_generator(
    content: bytes,
    metadata: ModelMetadata,
    engine: Engine,
    *,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
) -> GeneratorSignature:
    """Return the signature of a generator, found by running it on small images of two sizes.

    Args:
        content: Its ONNX file, already checked; weights may be packed.
        metadata: The model's metadata, given by the user.
        engine: Loads and runs it.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the trial runs.

    Raises:
        FaceterError: `METHOD_NOT_APPLICABLE` if input or output is not an image or their sizes differ;
            `METADATA_MISMATCH` if its metadata describe another kind of model; `MODEL_NOT_RUNNABLE`;
            `INFERENCE_FAILED` if it was interrupted.
    """
    model = engine.load(content, threads=threads, layout=layout)
    try:
        return check_loaded_generator(model, metadata, interrupt=interrupt)
    finally:
        model.close()


def check_loaded_generator(
    model: LoadedModel, metadata: ModelMetadata, *, interrupt: Interrupt | None = None
) -> GeneratorSignature:
    """Return the signature of a loaded generator; see `check_generator`."""
    _check_metadata(metadata, model.inputs)
    source = _image_spec(model.inputs, "takes", "input")
    target = _image_spec(model.outputs, "gives", "output")
    height, width = _fixed_sides(source)
    if height is not None and width is not None:
        shape = _output_shape(model, source, target, height, width, interrupt)
        if shape != (1, 3, height, width):
            raise _size_changed((height, width), shape)
        return GeneratorSignature(source.name, target.name, (height, width), multiple=1, min_side=1)
    if height is not None or width is not None:
        raise _not_applicable(
            f"Input '{source.name}' is {shape_text(source.shape)}: one side is fixed and the other is not. Export "
            "the generator with both sides fixed or both dynamic."
        )
    multiple = _multiple(model, source, target, interrupt)
    min_side = min(min(sides) for sides in _trial_sizes(multiple))
    return GeneratorSignature(source.name, target.name, None, multiple, min_side)


def _check_metadata(metadata: ModelMetadata, inputs: list[TensorSpec]) -> None:
    if metadata.task not in _TASKS:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"The model's task is {metadata.task}; that of a generator is {Task.IMAGE_TRANSLATION}. Upload it "
            f"again with metadata.task {str(Task.IMAGE_TRANSLATION)!r}.",
            field="metadata.task",
        )
    preprocessing = metadata.preprocessing
    if preprocessing is None:
        return
    if preprocessing.channel_order is ChannelOrder.GRAY:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            "The preprocessing converts images to grey; a generator takes three channels, RGB or BGR.",
            field="metadata.preprocessing.channel_order",
        )
    if preprocessing.channels_last:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            "The images of this model are [N, H, W, C] (channels last); a generator takes [N, C, H, W]. Export it "
            "channels first (tf2onnx: --inputs-as-nchw and --outputs-as-nchw).",
            field="metadata.preprocessing.layout",
        )
    if preprocessing.input is not None and preprocessing.input not in [spec.name for spec in inputs]:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"The model has no input '{preprocessing.input}'.",
            field="metadata.preprocessing.input",
        )


def _image_spec(specs: list[TensorSpec], verb: str, role: str) -> TensorSpec:
    """Return the only input or output; raise unless it can hold an image."""
    described = ", ".join(f"'{spec.name}' {spec.dtype} {shape_text(spec.shape)}" for spec in specs)
    if len(specs) != 1:
        raise _not_applicable(f"The model has {len(specs)} {role}s ({described}); a generator has one. {_HINT}")
    (spec,) = specs
    batch, channels = (spec.shape[0], spec.shape[1]) if len(spec.shape) == 4 else (0, 0)
    if channels != 3 and (isinstance(channels, int) or role == "input"):
        raise _not_applicable(f"The model {verb} no image of three channels: its {role} is {described}. {_HINT}")
    if spec.dtype != "float32":
        raise _not_applicable(
            f"The {role} of the model is {described}; generators run in float32. Export it as float32."
        )
    if isinstance(batch, int) and batch != 1:
        raise _not_applicable(
            f"The {role} of the model is {described}: {batch} images at a time. Export it with a batch size "
            "of one, or a dynamic one."
        )
    return spec


def _fixed_sides(spec: TensorSpec) -> tuple[int | None, int | None]:
    height, width = spec.shape[2:]
    return height if isinstance(height, int) else None, width if isinstance(width, int) else None


def _multiple(model: LoadedModel, source: TensorSpec, target: TensorSpec, interrupt: Interrupt | None) -> int:
    """Return the smallest multiple for which the output has the size of the input, in two trial sizes."""
    changed: list[tuple[tuple[int, int], tuple[int, ...]]] = []
    failure: FaceterError | None = None
    for multiple in MULTIPLES:
        for height, width in _trial_sizes(multiple):
            try:
                shape = _output_shape(model, source, target, height, width, interrupt)
            except FaceterError as error:
                if interrupt is not None and interrupt.triggered:
                    raise
                failure = error
                break
            if shape != (1, 3, height, width):
                changed.append(((height, width), shape))
                break
        else:
            return multiple
        if changed and _is_scaled(*changed[-1]):
            break
    if changed:
        raise _size_changed(*changed[-1])
    raise _not_applicable(
        f"The model could not be run on images of any size tried, multiples of 1 to {MULTIPLES[-1]} pixels: "
        f"{failure.detail if failure else ''}"
    )


def _trial_sizes(multiple: int) -> Iterator[tuple[int, int]]:
    """Yield two sizes (height, width) of odd multiples, so that no larger power of two divides them."""
    times = (_MIN_TRIAL_SIDE // multiple) | 1
    yield multiple * times, multiple * (times + 2)
    yield multiple * (times + 2), multiple * times


def _is_scaled(size: tuple[int, int], output: tuple[int, ...]) -> bool:
    """Whether the output is no image, or scaled by one factor on both sides: then no multiple would help."""
    if len(output) != 4 or output[1] != 3:
        return True
    return output[2] * size[1] == output[3] * size[0] and output[2:] != size


def _output_shape(
    model: LoadedModel,
    source: TensorSpec,
    target: TensorSpec,
    height: int,
    width: int,
    interrupt: Interrupt | None,
) -> tuple[int, ...]:
    values: Array = np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    output = model.run({source.name: values}, [target.name], interrupt=interrupt)[target.name]
    return tuple(output.shape)


def _size_changed(size: tuple[int, int], output: tuple[int, ...]) -> FaceterError:
    return _not_applicable(
        f"For an image of {size[1]} × {size[0]} pixels, [1, 3, {size[0]}, {size[1]}], the model returns "
        f"{list(output)}; a generator gives an image of the size it was given. {_HINT}"
    )


def _not_applicable(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.METHOD_NOT_APPLICABLE, detail)

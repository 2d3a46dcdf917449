"""Checks that a model is a generator: takes an image and gives one of the same size."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ChannelOrder, ModelMetadata, Task, TensorSpec
from faceter.engines.base import Array, Engine, Interrupt, LoadedModel
from faceter.graphs.layouts import PLAIN

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""What heights and widths are tried to be multiples of."""

_TASKS = (Task.IMAGE_TRANSLATION, Task.OTHER)
_LEAST_TRIED = 32
_ANOTHER = "Upload a generator whose input and output are both float32 [N, 3, H, W]."


@dataclass(frozen=True)
class Takes:
    """What images a generator takes.

    Attributes:
        input: Name of the input that takes the image.
        output: Name of the output that gives the translation.
        size: The only height and width it takes; None if they may vary.
        multiple: Smallest power of two, up to 256, that heights and widths must be multiples of; 1 for a fixed size.
        least: Smallest height and width that was tried; smaller images may be too small to be padded inside.
    """

    input: str
    output: str
    size: tuple[int, int] | None
    multiple: int
    least: int


def check_generator(
    content: bytes,
    metadata: ModelMetadata,
    engine: Engine,
    *,
    threads: int = 1,
    layout: str = PLAIN,
    interrupt: Interrupt | None = None,
) -> Takes:
    """Return what images a generator takes, having tried it on small ones of two sizes.

    Args:
        content: Its ONNX file, already checked; weights may be packed.
        metadata: What was said about it.
        engine: What runs it.
        threads: Threads of a run.
        layout: One of `faceter.graphs.layouts.layouts`.
        interrupt: Stops the trial.

    Raises:
        FaceterError: `METHOD_NOT_APPLICABLE` if it takes or gives no image or changes its size; `METADATA_MISMATCH`
            if it is said to be something else; `MODEL_NOT_RUNNABLE`; `INFERENCE_FAILED` if it was interrupted.
    """
    model = engine.load(content, threads=threads, layout=layout)
    try:
        return check_loaded(model, metadata, interrupt=interrupt)
    finally:
        model.close()


def check_loaded(model: LoadedModel, metadata: ModelMetadata, *, interrupt: Interrupt | None = None) -> Takes:
    """Return what images a loaded generator takes; see `check_generator`."""
    _check_metadata(metadata, model.inputs)
    source = _image(model.inputs, "takes", "input")
    target = _image(model.outputs, "gives", "output")
    height, width = _sides(source)
    if height is not None and width is not None:
        made = _shape_made(model, source, target, height, width, interrupt)
        if made != (1, 3, height, width):
            raise _changes_size((height, width), made)
        return Takes(source.name, target.name, (height, width), multiple=1, least=1)
    if height is not None or width is not None:
        raise _refusal(
            f"Input '{source.name}' is {_words(source)}: one side is fixed and the other is not. Export the generator "
            "with both sides fixed or both variable."
        )
    multiple = _multiple(model, source, target, interrupt)
    return Takes(source.name, target.name, None, multiple, least=min(min(sides) for sides in _sizes(multiple)))


def _check_metadata(metadata: ModelMetadata, inputs: list[TensorSpec]) -> None:
    if metadata.task not in _TASKS:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"The model is said to be for {metadata.task}; a generator is for {Task.IMAGE_TRANSLATION}. Upload it "
            f"again with metadata.task {str(Task.IMAGE_TRANSLATION)!r}.",
            field="metadata.task",
        )
    said = metadata.preprocessing
    if said is None:
        return
    if said.channel_order is ChannelOrder.GRAY:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            "The preprocessing makes images grey; a generator takes three channels, RGB or BGR.",
            field="metadata.preprocessing.channel_order",
        )
    if said.input is not None and said.input not in [spec.name for spec in inputs]:
        raise FaceterError(
            ProblemKind.METADATA_MISMATCH,
            f"The model has no input '{said.input}'.",
            field="metadata.preprocessing.input",
        )


def _image(specs: list[TensorSpec], verb: str, role: str) -> TensorSpec:
    """Return the only input or output, if it can hold an image."""
    described = ", ".join(f"'{spec.name}' {spec.dtype} {_words(spec)}" for spec in specs)
    if len(specs) != 1:
        raise _refusal(f"The model has {len(specs)} {role}s ({described}); a generator has one. {_ANOTHER}")
    (spec,) = specs
    batch, channels = (spec.shape[0], spec.shape[1]) if len(spec.shape) == 4 else (0, 0)
    if channels != 3 and (isinstance(channels, int) or role == "input"):
        raise _refusal(f"The model {verb} no image of three channels: its {role} is {described}. {_ANOTHER}")
    if spec.dtype != "float32":
        raise _refusal(f"The {role} of the model is {described}; generators are run in float32. Export it as float32.")
    if isinstance(batch, int) and batch != 1:
        raise _refusal(
            f"The {role} of the model is {described}: {batch} images at a time. Export it for a batch of one, or "
            "one that may vary."
        )
    return spec


def _sides(spec: TensorSpec) -> tuple[int | None, int | None]:
    height, width = spec.shape[2:]
    return height if isinstance(height, int) else None, width if isinstance(width, int) else None


def _multiple(model: LoadedModel, source: TensorSpec, target: TensorSpec, interrupt: Interrupt | None) -> int:
    """Return the smallest multiple of two sizes that come back as they were."""
    seen: list[tuple[tuple[int, int], tuple[int, ...]]] = []
    failure: FaceterError | None = None
    for multiple in MULTIPLES:
        for height, width in _sizes(multiple):
            try:
                made = _shape_made(model, source, target, height, width, interrupt)
            except FaceterError as error:
                if interrupt is not None and interrupt.triggered:
                    raise
                failure = error
                break
            if made != (1, 3, height, width):
                seen.append(((height, width), made))
                break
        else:
            return multiple
        if seen and _is_scaled(*seen[-1]):
            break
    if seen:
        raise _changes_size(*seen[-1])
    raise _refusal(
        f"The model could not be run on images of any size tried, multiples of 1 to {MULTIPLES[-1]} pixels: "
        f"{failure.detail if failure else ''}"
    )


def _sizes(multiple: int) -> Iterator[tuple[int, int]]:
    """Yield two heights and widths, odd multiples, so that no larger power of two divides them."""
    times = (_LEAST_TRIED // multiple) | 1
    yield multiple * times, multiple * (times + 2)
    yield multiple * (times + 2), multiple * times


def _is_scaled(given: tuple[int, int], made: tuple[int, ...]) -> bool:
    """Whether both sides were scaled by one factor, which no multiple would change."""
    if len(made) != 4 or made[1] != 3:
        return True
    return made[2] * given[1] == made[3] * given[0] and made[2:] != given


def _shape_made(
    model: LoadedModel,
    source: TensorSpec,
    target: TensorSpec,
    height: int,
    width: int,
    interrupt: Interrupt | None,
) -> tuple[int, ...]:
    values: Array = np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    made = model.run({source.name: values}, [target.name], interrupt=interrupt)[target.name]
    return tuple(made.shape)


def _changes_size(given: tuple[int, int], made: tuple[int, ...]) -> FaceterError:
    return _refusal(
        f"Of an image of {given[1]} × {given[0]} pixels, [1, 3, {given[0]}, {given[1]}], the model makes "
        f"{list(made)}; a generator gives an image of the size it was given. {_ANOTHER}"
    )


def _refusal(detail: str) -> FaceterError:
    return FaceterError(ProblemKind.METHOD_NOT_APPLICABLE, detail)


def _words(spec: TensorSpec) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in spec.shape) + "]"

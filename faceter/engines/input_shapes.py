"""Concrete shapes for the inputs of a model whose file leaves sizes open.

A size is taken from what the user said, else from the preprocessing of images, else it is inferred: the smallest of a
series of sizes at which the model runs and the fewest convolutions and poolings see less than their kernel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Final, Literal

import numpy as np
import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, ModelMetadata, TensorSpec
from faceter.engines.base import Array, LoadedModel, time_limit
from faceter.engines.fixed_inputs import with_fixed_inputs
from faceter.engines.open_inputs import OpenInputs
from faceter.graphs.demanded_sizes import demanded_sizes
from faceter.graphs.describe import input_specs
from faceter.graphs.shapes import TensorInfo, infer_shapes, largest_tensor
from faceter.graphs.view import attribute
from faceter.vision.metadata import image_input

SizeSource = Literal["said", "inferred"]
"""Who gave a size: the metadata, or trial runs."""

FIELD: Final = "metadata.input_shapes"
_WINDOWS: Final = frozenset({"Conv", "MaxPool", "AveragePool", "LpPool"})
_BATCHES: Final = 2
_UNIMPROVED: Final = 3
"""Sizes to try in vain for one at which fewer windows are larger than their input."""
_SERIES_SECONDS: Final = 3.0
"""Time after which no further size is tried once the model has run at one."""
_MOST_VALUES: Final = 64 * 1024 * 1024
"""Limit of the values of one tensor in a trial run."""


class UnknownInputShapesError(FaceterError):
    """The file leaves sizes open that nobody gave, and the model runs at none of those tried."""


@dataclass(frozen=True)
class InputShapes:
    """A concrete shape for every input of a model."""

    shapes: dict[str, tuple[int, ...]]
    """By input, at batch 1 or the batch size that the file fixes."""
    batched: bool
    """Whether the first axis of every input is that of the samples and may have any size."""
    sources: dict[str, SizeSource]
    """Who gave the sizes that the file leaves open besides the batch; only inputs with such sizes."""

    @property
    def chosen(self) -> dict[str, list[int]]:
        """The shapes of the inputs whose sizes the file leaves open, besides the batch."""
        return {name: list(self.shapes[name]) for name in self.sources}

    @property
    def inferred(self) -> list[str]:
        """The inputs whose open sizes trial runs gave."""
        return [name for name, source in self.sources.items() if source == "inferred"]

    def specs(self, inputs: Sequence[TensorSpec]) -> list[TensorSpec]:
        """Return the inputs with these shapes, in their order; only the batch axis stays open, if it may vary."""
        return [
            spec.model_copy(
                update={"shape": ["batch" if self.batched and axis == 0 else size for axis, size in enumerate(shape)]}
            )
            for spec in inputs
            for shape in [self.shapes[spec.name]]
        ]


def with_input_shapes(
    metadata: ModelMetadata, inputs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]] | None
) -> ModelMetadata:
    """Return the metadata with further shapes of inputs; that of the image input also becomes the size of images.

    Args:
        metadata: Of a model.
        inputs: The model's inputs.
        shapes: Shapes by input, batch included; they replace those of the metadata.
    """
    if not shapes:
        return metadata
    changes: dict[str, object] = {
        "input_shapes": {**(metadata.input_shapes or {}), **{name: list(shape) for name, shape in shapes.items()}}
    }
    preprocessing = metadata.preprocessing
    if preprocessing is not None:
        shape = shapes.get(image_input(preprocessing, inputs).name, ())
        if len(shape) == len(preprocessing.shape) + 1:
            size = list(shape[1:3] if preprocessing.channels_last else shape[2:4])
            changes["preprocessing"] = preprocessing.model_copy(update={"size": size})
    return metadata.model_copy(update=changes)


def at_input_shapes(model: Model, shapes: Mapping[str, Sequence[int]] | None) -> Model:
    """Return a model's record with further shapes of inputs in its metadata; see `with_input_shapes`."""
    return model.model_copy(update={"metadata": with_input_shapes(model.metadata, model.inputs, shapes)})


def choose_input_shapes(
    loaded: LoadedModel,
    model: onnx.ModelProto,
    metadata: ModelMetadata,
    *,
    seconds: float,
    most_values: int = _MOST_VALUES,
    field: str = FIELD,
) -> InputShapes:
    """Return a shape for every input at which the model runs, checked by running it.

    Args:
        loaded: The model in the engine that serves it.
        model: The same, checked; constant inputs may be missing.
        metadata: With ``input_shapes`` as the user said them, and the preprocessing of images.
        seconds: Time limit of all trial runs of one series.
        most_values: Limit of the values of one tensor.
        field: The field of the request with the shapes, for errors.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` on ``field`` if the shapes contradict the model; ``MODEL_NOT_RUNNABLE`` if
            the model runs at none of the shapes, :class:`UnknownInputShapesError`
            if only trials could give them.
    """
    specs = input_specs(model)
    loaded = with_fixed_inputs(loaded, metadata.constant_inputs)
    images, demanded = _image_shape(metadata, specs), demanded_sizes(model)
    open_inputs = OpenInputs(specs, metadata.input_shapes or {}, images, demanded, field)
    failure: FaceterError | None = None
    found: dict[str, tuple[int, ...]] | None = None
    fewest, unimproved, began = 0, 0, monotonic()
    for sizes in open_inputs.candidates():
        shapes = open_inputs.shapes(sizes)
        inferred = infer_shapes(model, inputs=shapes)
        if largest_tensor(inferred) > most_values:
            failure = failure or _too_large(shapes, most_values, field)
            break
        try:
            run_once(loaded, example_inputs(loaded.inputs, shapes), seconds)
        except FaceterError as error:
            failure = error
            continue
        larger = _windows_larger_than_input(model, inferred)
        if found is None or larger < fewest:
            found, fewest, unimproved = shapes, larger, 0
        else:
            unimproved += 1
        if not fewest or unimproved == _UNIMPROVED or monotonic() - began > _SERIES_SECONDS:
            break
    if found is None:
        raise _not_runnable(open_inputs, failure, field)
    sources = {name: open_inputs.source(name) for name in open_inputs.open_inputs}
    return InputShapes(found, _is_batched(loaded, found, open_inputs, seconds), sources)


def run_once(loaded: LoadedModel, inputs: Mapping[str, Array], seconds: float) -> dict[str, Array]:
    """Run a model once within a time limit.

    Raises:
        FaceterError: ``INFERENCE_FAILED``.
    """
    with time_limit(seconds) as interrupt:
        return loaded.run(inputs, interrupt=interrupt)


def example_inputs(specs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]]) -> dict[str, Array]:
    """Return zeros of the given shapes, ones for masks and lengths."""
    values: dict[str, Array] = {}
    for spec in specs:
        shape = tuple(shapes[spec.name])
        if spec.dtype == "str":
            values[spec.name] = np.full(shape, "", object)
        elif any(word in spec.name.lower() for word in ("mask", "len")):
            values[spec.name] = np.ones(shape, spec.dtype)
        else:
            values[spec.name] = np.zeros(shape, spec.dtype)
    return values


def _image_shape(metadata: ModelMetadata, specs: Sequence[TensorSpec]) -> dict[str, list[int]]:
    """Return the shape of the image input, batch 1, by its name; empty if the model takes no images."""
    if metadata.preprocessing is None:
        return {}
    spec = image_input(metadata.preprocessing, specs)
    batch = spec.shape[0] if spec.shape and isinstance(spec.shape[0], int) else 1
    return {spec.name: [batch, *metadata.preprocessing.shape]}


def _windows_larger_than_input(model: onnx.ModelProto, shapes: Mapping[str, TensorInfo]) -> int:
    """Return how many windows of convolutions and poolings are larger than their input, where both are known."""
    larger = 0
    for node in model.graph.node:
        if node.op_type not in _WINDOWS:
            continue
        source = shapes.get(node.input[0])
        if source is None or source.static is None:
            continue
        kernel = attribute(node, "kernel_shape", None)
        if kernel is None and node.op_type == "Conv":
            weight = shapes.get(node.input[1])
            kernel = None if weight is None or weight.static is None else weight.static[2:]
        dilations = attribute(node, "dilations", None) or [1] * len(kernel or ())
        spans = [1 + (size - 1) * step for size, step in zip(kernel or (), dilations, strict=False)]
        larger += any(span > side for span, side in zip(spans, source.static[2:], strict=False))
    return larger


def _is_batched(
    loaded: LoadedModel, shapes: Mapping[str, tuple[int, ...]], open_inputs: OpenInputs, seconds: float
) -> bool:
    """Whether all inputs have an open batch axis, and every output grows with it."""
    if not all(spec.name in open_inputs.batch_first for spec in loaded.inputs):
        return False
    twice = {name: (_BATCHES, *shape[1:]) for name, shape in shapes.items()}
    try:
        outputs = run_once(loaded, example_inputs(loaded.inputs, twice), seconds)
        alone = run_once(loaded, example_inputs(loaded.inputs, shapes), seconds)
    except FaceterError:
        return False
    return all(_grows(alone[name], outputs[name]) for name in outputs)


def _grows(one: object, two: object) -> bool:
    """Whether an axis of an output is as many times as long for a batch as for one sample."""
    if not isinstance(one, np.ndarray) or not isinstance(two, np.ndarray) or one.ndim != two.ndim:
        return not isinstance(one, np.ndarray)
    sizes = list(zip(one.shape, two.shape, strict=True))
    return any(after == _BATCHES * before for before, after in sizes) or one.size == 0


def _too_large(shapes: Mapping[str, Sequence[int]], most: int, field: str) -> FaceterError:
    shown = "; ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
    return FaceterError(
        ProblemKind.MODEL_NOT_RUNNABLE,
        f"At the input shapes {shown} the model has a tensor of more than {most:,} values, the limit of this server.",
        field=field,
    )


def _not_runnable(open_inputs: OpenInputs, failure: FaceterError | None, field: str) -> FaceterError:
    reason = "" if failure is None else f" {failure.detail}"
    if not open_inputs.inferred:
        remedy = (
            " Say other `input_shapes`, or leave them out."
            if open_inputs.said
            else " Export it again, and run the file with ONNX Runtime before you upload it."
        )
        detail = f"The model fails on zeros of its input shapes.{reason}{remedy}"
        return FaceterError(ProblemKind.MODEL_NOT_RUNNABLE, detail, field=field if open_inputs.said else "file")
    return UnknownInputShapesError(
        ProblemKind.MODEL_NOT_RUNNABLE,
        f"The file leaves sizes of {open_inputs.describe_inferred()} open, and the model runs at none of those tried. "
        f"Say the shapes, for example {open_inputs.example()}.{reason}",
        field=field,
    )

"""What an image input leaves no doubt of: its layout, the size of a preset, the scale of whole pixel values, grey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import onnx

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, TensorSpec, shape_text
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.graphs.view import GraphView, attribute, is_standard
from faceter.vision.metadata import image_input

Layout = Literal["channels_first", "channels_last"]

_CHANNEL_AXIS: Final[dict[Layout, int]] = {"channels_first": 1, "channels_last": 3}
_IMAGE_CHANNELS: Final = (1, 3)
_TO_CHANNELS_FIRST: Final = [0, 3, 1, 2]
_TO_CHANNELS_LAST: Final = [0, 2, 3, 1]
_SAME_AXES: Final = frozenset(
    {
        "Add",
        "Cast",
        "Clip",
        "DequantizeLinear",
        "Div",
        "Identity",
        "Mul",
        "Pad",
        "QuantizeLinear",
        "Resize",
        "Slice",
        "Sub",
    }
)
"""Operators that may stand between the input and the one that shows its layout, such as normalization."""
_CHANNELS_FIRST_ONLY: Final = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "ConvInteger",
        "ConvTranspose",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "InstanceNormalization",
        "MaxPool",
        "QLinearConv",
        "SpaceToDepth",
    }
)
"""Operators that take channels on axis 1."""


def with_complete_preprocessing(
    metadata: ModelMetadata, inputs: Sequence[TensorSpec], model: onnx.ModelProto
) -> ModelMetadata:
    """Return metadata with `complete_preprocessing`; unchanged without preprocessing or without an input for images.

    Args:
        metadata: As given.
        inputs: The model's inputs, without initializers.
        model: The checked model.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` if both layouts are possible.
    """
    if metadata.preprocessing is None:
        return metadata
    try:
        image_input(metadata.preprocessing, inputs)
    except FaceterError:
        return metadata
    completed = complete_preprocessing(metadata.preprocessing, inputs, model)
    return metadata if completed is metadata.preprocessing else metadata.model_copy(update={"preprocessing": completed})


def complete_preprocessing(
    preprocessing: Preprocessing, inputs: Sequence[TensorSpec], model: onnx.ModelProto
) -> Preprocessing:
    """Return preprocessing with the fields that nobody gave and the model leaves no doubt of.

    These are the layout; the size, if it is a preset's and the input has another; channel order `gray` for an input
    of one channel; and for an input of uint8, which takes pixel values, scale 1. Fields that were given stay.

    Args:
        preprocessing: As given; ``model_fields_set`` are the fields given.
        inputs: The model's inputs, without initializers.
        model: The checked model.

    Raises:
        FaceterError: ``METADATA_MISMATCH`` on field ``metadata.preprocessing.layout`` if both layouts are possible;
            that of `image_input` if there is no input for images.
    """
    spec = image_input(preprocessing, inputs)
    if len(spec.shape) != 4:
        return preprocessing
    given = preprocessing.model_fields_set
    changes: dict[str, Any] = {}
    layout = preprocessing.layout or _layout(preprocessing, spec, model)
    changes["layout"] = layout
    axis = _CHANNEL_AXIS[layout]
    sides = [spec.shape[2], spec.shape[3]] if axis == 1 else [spec.shape[1], spec.shape[2]]
    if "size" not in given and all(isinstance(side, int) for side in sides):
        changes["size"] = sides
    if spec.shape[axis] == 1 and given.isdisjoint({"channel_order", "preset", "mean", "std"}):
        changes["channel_order"] = ChannelOrder.GRAY
    if spec.dtype == "uint8" and given.isdisjoint({"scale", "preset", "mean", "std"}):
        changes["scale"] = 1.0
    changes = {name: value for name, value in changes.items() if getattr(preprocessing, name) != value}
    return preprocessing.model_copy(update=changes) if changes else preprocessing


def _layout(preprocessing: Preprocessing, spec: TensorSpec, model: onnx.ModelProto) -> Layout:
    size = preprocessing.size if "size" in preprocessing.model_fields_set else None
    possible = [layout for layout in _CHANNEL_AXIS if _fits(spec, layout, (preprocessing.channels,), size)]
    if not possible:
        possible = [layout for layout in _CHANNEL_AXIS if _fits(spec, layout, _IMAGE_CHANNELS, None)]
    if len(possible) == 1:
        return possible[0]
    if not possible:
        return "channels_first"
    shown = set(_shown_by_graph(spec.name, model))
    if len(shown) == 1:
        return shown.pop()
    raise FaceterError(
        ProblemKind.METADATA_MISMATCH,
        f"Input '{spec.name}' is {shape_text(spec.shape)}, and neither its shape nor the graph tells which axis holds "
        "the channels. Say it: layout 'channels_first' for [N, C, H, W], 'channels_last' for [N, H, W, C].",
        field="metadata.preprocessing.layout",
    )


def _fits(spec: TensorSpec, layout: Layout, channels: Sequence[int], size: Sequence[int] | None) -> bool:
    """Return whether the fixed sizes of an input agree with a layout; a size of None agrees with any."""
    axis = _CHANNEL_AXIS[layout]
    count = spec.shape[axis]
    if isinstance(count, int) and count not in channels:
        return False
    sides = [length for place, length in enumerate(spec.shape) if place not in (0, axis)]
    pairs = zip(sides, size or sides, strict=True)
    return all(not isinstance(side, int) or side == expected for side, expected in pairs)


def _shown_by_graph(name: str, model: onnx.ModelProto) -> Iterator[Layout]:
    """Yield the layouts that the first operators behind an input take, past normalization."""
    view = GraphView(model)
    seen, waiting = {name}, [name]
    while waiting:
        for node in view.consumers.get(waiting.pop(), []):
            if not is_standard(node):
                continue
            if node.op_type == "Transpose":
                permutation = attribute(node, "perm")
                if permutation in (_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST):
                    yield "channels_last" if permutation == _TO_CHANNELS_FIRST else "channels_first"
            elif node.op_type in _CHANNELS_FIRST_ONLY:
                yield "channels_first"
            elif node.op_type in _SAME_AXES and node.output[0] not in seen:
                seen.add(node.output[0])
                waiting.append(node.output[0])

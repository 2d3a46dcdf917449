"""Outputs of a detector's head as values per candidate box, and the activations applied to them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.detection import Activation, DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.boxes import FloatArray


@dataclass(frozen=True)
class HeadOutput:
    """One output of a detector's head."""

    values: FloatArray
    """float32 [N, M, values]; the anchors of a cell are adjacent."""
    cells: tuple[int, ...]
    """Lengths of the axes of cells."""


def named_output(outputs: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """Return an output by name.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if it is missing.
    """
    if name not in outputs:
        raise FaceterError(ProblemKind.INFERENCE_FAILED, f"The model gave no output '{name}' to decode boxes from.")
    return outputs[name]


def candidates_per_cell(decoding: DetectionDecoding, index: int) -> int:
    """Return how many candidates a cell of one of ``box_outputs`` has, which are parts of its values axis."""
    if decoding.anchor_grid is not None and len(decoding.box_outputs) > 1:
        return decoding.anchor_grid.per_cell[index]
    return decoding.anchors_per_cell


def head_output(output: NDArray[Any], decoding: DetectionDecoding, name: str, index: int = 0) -> HeadOutput:
    """Return an output arranged by candidate.

    Args:
        output: The output.
        decoding: Description of the head.
        name: Name of the output.
        index: Its feature map.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if its shape does not match the decoding.
    """
    per_cell = candidates_per_cell(decoding, index)
    values = np.asarray(output, np.float32)
    if decoding.head == "direct" and values.ndim == 2:
        values = values[None]
    if values.ndim < 3:
        raise shape_error(name, output, "at least three axes")
    if decoding.layout == "channels_last" and values.ndim == 5:
        if values.shape[1] != per_cell:
            raise shape_error(name, output, f"{per_cell} anchors on axis 1")
        values = values.transpose(0, 2, 3, 1, 4)
        return HeadOutput(_by_candidate(values, 1), values.shape[1:3])
    if decoding.layout == "channels_first":
        values = np.moveaxis(values, 1, -1)
    if values.shape[-1] % per_cell:
        raise shape_error(name, output, f"a values axis that is divisible by {per_cell} anchors")
    return HeadOutput(_by_candidate(values, per_cell), values.shape[1:-1])


def _by_candidate(values: FloatArray, per_cell: int) -> FloatArray:
    """Return [N, M, values] of an array [N, …cells, values of all candidates of a cell]."""
    cells = math.prod(values.shape[1:-1])
    return values.reshape(len(values), cells * per_cell, values.shape[-1] // per_cell)


def value_output(
    output: NDArray[Any], decoding: DetectionDecoding, name: str, index: int = 0, boxes: tuple[int, ...] | None = None
) -> FloatArray:
    """Return float32 [N, M, values] of an output beside that of the boxes.

    Args:
        output: The output.
        decoding: Description of the head.
        name: Name of the output.
        index: Its feature map.
        boxes: Numbers of images and of boxes, for an output of one value per box, which may have no values axis.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if its shape does not match the decoding.
    """
    if boxes is not None and output.size == boxes[0] * boxes[1]:
        return np.asarray(output, np.float32).reshape(*boxes, 1)
    return head_output(output, decoding, name, index).values


def shape_error(name: str, output: NDArray[Any], required: str) -> FaceterError:
    """Return the error for an output whose shape does not match the decoding."""
    shape = list(np.shape(output))
    return FaceterError(
        ProblemKind.INFERENCE_FAILED, f"Output '{name}' has shape {shape}; its decoding requires {required}."
    )


def power(values: FloatArray, exponent: float) -> FloatArray:
    """Return values raised to an exponent, in float32."""
    if exponent == 1:
        return values
    result: FloatArray = np.power(values, np.float32(exponent))
    return result


def _sigmoid(values: FloatArray) -> FloatArray:
    result: FloatArray = np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1))
    return result


def _softmax(values: FloatArray) -> FloatArray:
    powers: FloatArray = np.exp(values - values.max(axis=-1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return result


ACTIVATIONS: dict[Activation, Callable[[FloatArray], FloatArray]] = {
    Activation.NONE: lambda values: values,
    Activation.SIGMOID: _sigmoid,
    Activation.TANH: np.tanh,
    Activation.EXP: np.exp,
    Activation.SOFTMAX: _softmax,
}

"""Decodes the outputs of a detector into boxes, as its ``DetectionDecoding`` describes them."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Activation, DetectionDecoding
from faceter.vision.boxes import Boxes, FloatArray, IntArray, non_maximum_suppression
from faceter.vision.preprocess import Placement

EVALUATION_SCORE_THRESHOLD = 0.05
"""Lowest score of a box that counts in mean average precision, which wants the weak ones too."""

_MOST_CANDIDATES = 30_000
"""Candidates of one image, best first, that enter non-maximum suppression, as in YOLOv5."""

_HIGHEST_SCORE = 1.01
"""Rounding may carry a probability a little over 1; more means that it is none."""


def for_evaluation(decoding: DetectionDecoding) -> DetectionDecoding:
    """Return the same decoding with ``EVALUATION_SCORE_THRESHOLD``, as mean average precision is measured with."""
    return decoding.model_copy(update={"score_threshold": EVALUATION_SCORE_THRESHOLD})


def decode(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, input_size: tuple[int, int]
) -> list[Boxes]:
    """Decode a detector's outputs.

    Args:
        outputs: Every output that ``decoding`` names, batch first. A direct head may leave the batch axis out.
        decoding: Description of the head.
        input_size: Height and width of the model's input, pixels.

    Returns:
        One ``Boxes`` per image, in pixels of the model's input, best first. A box whose coordinates or score are not
        finite is none. Boxes may reach beyond the input.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if an output is missing or has not the shape that was described.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        candidates = _candidates(outputs, decoding, input_size)
        return [_select(candidates, index, decoding) for index in range(len(candidates.boxes))]


def decode_to_images(
    outputs: Mapping[str, NDArray[Any]],
    decoding: DetectionDecoding,
    input_size: tuple[int, int],
    placements: Sequence[Placement],
    *,
    clip: bool = True,
) -> list[Boxes]:
    """Decode a detector's outputs to boxes in the images' own pixels.

    Args:
        outputs: As for ``decode``.
        decoding: Description of the head.
        input_size: Height and width of the model's input, pixels.
        placements: Where each image lies in its input, as ``preprocess`` gives it.
        clip: Whether to cut boxes off at the images' edges, as an answer wants it. It raises mean average precision
            (on FastestDet by 1.6 points at [.5:.95]), so figures to compare with others' are measured without.

    Returns:
        One ``Boxes`` per image, best first.

    Raises:
        FaceterError: As ``decode`` does.
        ValueError: If there are not as many placements as images.
    """
    found = decode(outputs, decoding, input_size)
    return [
        Boxes(placement.to_image(boxes.boxes, clip=clip), boxes.scores, boxes.classes)
        for boxes, placement in zip(found, placements, strict=True)
    ]


@dataclass(frozen=True)
class _Candidates:
    boxes: FloatArray
    """float32 [N, M, 4]: left, top, right, bottom, input pixels."""
    objectness: FloatArray | None
    """float32 [N, M], already raised to its power."""
    class_scores: FloatArray | None
    """float32 [N, M, C], background dropped, already raised to their power."""
    classes: IntArray | None
    """int64 [N, M], where the model has chosen the class; below 0 for the background."""


@dataclass(frozen=True)
class _Reference:
    """What a head's values are measured from, as fractions of the input; each broadcasts against [N, M, 2]."""

    start: FloatArray
    center_unit: FloatArray
    size_unit: FloatArray


def _candidates(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, input_size: tuple[int, int]
) -> _Candidates:
    levels = [_by_candidate(_output(outputs, name), decoding, name) for name in decoding.box_outputs]
    references = [_reference(decoding, level, index, input_size) for index, level in enumerate(levels)]
    boxes = [_boxes(level.values, ref, decoding, input_size) for level, ref in zip(levels, references, strict=True)]
    values = np.concatenate([level.values for level in levels], axis=1) if len(levels) > 1 else levels[0].values
    return _Candidates(
        boxes=np.concatenate(boxes, axis=1),
        objectness=_objectness(values, decoding),
        class_scores=_class_scores(values, outputs, decoding),
        classes=_chosen_classes(values, outputs, decoding),
    )


@dataclass(frozen=True)
class _Level:
    values: FloatArray
    """float32 [N, M, values]; the anchors of a cell lie next to each other."""
    cells: tuple[int, ...]
    """Sizes of the axes of cells."""


def _output(outputs: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in outputs:
        raise FaceterError(ProblemKind.INFERENCE_FAILED, f"The model gave no output '{name}' to decode boxes from.")
    return outputs[name]


def _by_candidate(output: NDArray[Any], decoding: DetectionDecoding, name: str) -> _Level:
    per_cell = decoding.anchors_per_cell
    values = np.asarray(output, np.float32)
    if decoding.head == "direct" and values.ndim == 2:
        values = values[None]
    if values.ndim < 3:
        raise _misshapen(name, output, "at least three axes")
    if decoding.layout == "channels_last" and values.ndim == 5:
        if values.shape[1] != per_cell:
            raise _misshapen(name, output, f"{per_cell} anchors on axis 1")
        values = values.transpose(0, 2, 3, 1, 4)
        return _Level(values.reshape(len(values), -1, values.shape[-1]), values.shape[1:3])
    if decoding.layout == "channels_first":
        values = np.moveaxis(values, 1, -1)
    if values.shape[-1] % per_cell:
        raise _misshapen(name, output, f"a values axis that {per_cell} anchors share equally")
    length = values.shape[-1] // per_cell
    return _Level(values.reshape(len(values), -1, length), values.shape[1:-1])


def _misshapen(name: str, output: NDArray[Any], wanted: str) -> FaceterError:
    shape = list(np.shape(output))
    return FaceterError(
        ProblemKind.INFERENCE_FAILED, f"Output '{name}' has shape {shape}; its decoding asks for {wanted}."
    )


def _reference(decoding: DetectionDecoding, level: _Level, index: int, input_size: tuple[int, int]) -> _Reference:
    one = np.ones(2, np.float32)
    if decoding.head == "direct":
        return _Reference(np.zeros(2, np.float32), one, one)
    count = level.values.shape[1]
    if decoding.head == "anchors":
        anchors = np.array(decoding.anchors, np.float32)
        if len(anchors) != count:
            raise _misshapen(decoding.box_outputs[index], level.values, f"{len(anchors)} candidates, one per anchor")
        return _Reference(anchors[:, :2], anchors[:, 2:], anchors[:, 2:])
    starts, cells, anchors_used = _grids(decoding, level, index, input_size)
    if len(starts) != count:
        wanted = f"{len(starts)} cells for strides {decoding.strides}"
        raise _misshapen(decoding.box_outputs[index], level.values, wanted)
    size_unit = {"image": one, "cell": cells, "anchor": anchors_used}[decoding.size_unit]
    return _Reference(starts, cells, size_unit)


def _grids(
    decoding: DetectionDecoding, level: _Level, index: int, input_size: tuple[int, int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the left top corner, the sides and the anchor of each candidate: float32 [M, 2] each."""
    per_cell = decoding.anchors_per_cell
    if decoding.strides:
        shapes = [(input_size[0] // stride, input_size[1] // stride) for stride in decoding.strides]
        first = 0
    elif len(level.cells) == 2:
        shapes = [(level.cells[0], level.cells[1])]
        first = index * per_cell
    else:
        raise _misshapen(decoding.box_outputs[index], level.values, "rows and columns of cells, or strides")
    starts, cells, anchors = [], [], []
    for number, (rows, columns) in enumerate(shapes):
        row, column = np.divmod(np.arange(rows * columns), columns)
        cell = np.array([1 / columns, 1 / rows], np.float32)
        starts.append(np.repeat(np.stack([column, row], axis=1) * cell, per_cell, axis=0).astype(np.float32))
        cells.append(np.broadcast_to(cell, (rows * columns * per_cell, 2)))
        if decoding.anchors:
            own = decoding.anchors[first + number * per_cell : first + (number + 1) * per_cell]
            anchors.append(np.tile(np.array(own, np.float32), (rows * columns, 1)))
    return np.concatenate(starts), np.concatenate(cells), np.concatenate(anchors or cells)


def _boxes(
    values: FloatArray, reference: _Reference, decoding: DetectionDecoding, input_size: tuple[int, int]
) -> FloatArray:
    raw = values[..., decoding.box_offset : decoding.box_offset + 4]
    if raw.shape[-1] != 4:
        name = ", ".join(decoding.box_outputs)
        raise _misshapen(name, values, f"four box values from position {decoding.box_offset} on")
    if decoding.coordinate_order == "yx":
        raw = raw[..., [1, 0, 3, 2]]
    center_variance, size_variance = (np.float32(variance) for variance in decoding.variances)

    def centers(part: FloatArray) -> FloatArray:
        activated = _ACTIVATIONS[decoding.center_activation](part) * center_variance
        return reference.start + (activated + np.float32(decoding.center_shift)) * reference.center_unit

    def sizes(part: FloatArray) -> FloatArray:
        activated = _power(_ACTIVATIONS[decoding.size_activation](part * size_variance), decoding.size_power)
        return np.float32(decoding.size_factor) * activated * reference.size_unit

    if decoding.box_format == "corners":
        corners = [centers(raw[..., :2]), centers(raw[..., 2:])]
    elif decoding.box_format == "distances":
        point = centers(np.zeros_like(raw[..., :2]))
        corners = [point - sizes(raw[..., :2]), point + sizes(raw[..., 2:])]
    else:
        center, half = centers(raw[..., :2]), sizes(raw[..., 2:]) / 2
        corners = [center - half, center + half]
    boxes: FloatArray = np.concatenate(corners, axis=-1)
    if decoding.head == "direct" and decoding.box_units == "pixels":
        return boxes
    height, width = input_size
    return boxes * np.array([width, height, width, height], np.float32)


def _objectness(values: FloatArray, decoding: DetectionDecoding) -> FloatArray | None:
    if decoding.objectness_offset is None:
        return None
    raw = values[..., decoding.objectness_offset]
    return _power(_ACTIVATIONS[decoding.objectness_activation](raw), decoding.objectness_power)


def _class_scores(
    values: FloatArray, outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> FloatArray | None:
    if decoding.class_offset is None:
        return None
    if decoding.scores is not None:
        values = np.concatenate(
            [_score_output(_output(outputs, name), values, decoding, name) for name in decoding.score_outputs], axis=1
        )
    count = 1 if decoding.class_is_chosen else decoding.class_count
    end = None if count is None else decoding.class_offset + count
    raw = values[..., decoding.class_offset : end]
    scores = _ACTIVATIONS[decoding.class_activation](raw)
    if decoding.background_class is not None and not decoding.class_is_chosen:
        scores = np.delete(scores, decoding.background_class, axis=-1)
    return _power(scores, decoding.class_power)


def _score_output(output: NDArray[Any], boxes: FloatArray, decoding: DetectionDecoding, name: str) -> FloatArray:
    """Return float32 [N, M, values]; a score per box may come without an axis of values."""
    if decoding.class_is_chosen and output.size == boxes.shape[0] * boxes.shape[1]:
        return np.asarray(output, np.float32).reshape(*boxes.shape[:2], 1)
    scores = _by_candidate(output, decoding, name).values
    if len(decoding.score_outputs) == 1 and scores.shape[:2] != boxes.shape[:2]:
        raise _misshapen(name, output, f"{boxes.shape[1]} candidates, as many as there are boxes")
    return scores


def _chosen_classes(
    values: FloatArray, outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> IntArray | None:
    if decoding.class_index_offset is not None:
        chosen = np.asarray(values[..., decoding.class_index_offset])
    elif decoding.classes is not None:
        output = _output(outputs, decoding.classes)
        if output.size != values.shape[0] * values.shape[1]:
            raise _misshapen(decoding.classes, output, f"one class for each of {values.shape[1]} boxes")
        chosen = output.reshape(values.shape[:2])
    else:
        return None
    classes = np.nan_to_num(np.rint(chosen), nan=-1).astype(np.int64)
    if decoding.background_class is None:
        return classes
    without = np.where(classes > decoding.background_class, classes - 1, classes)
    return np.where(classes == decoding.background_class, -1, without)


def _select(candidates: _Candidates, index: int, decoding: DetectionDecoding) -> Boxes:
    boxes = candidates.boxes[index]
    scores = _scores(candidates, index)
    _check_probabilities(scores)
    if candidates.classes is not None:
        classes = candidates.classes[index][:, None]
    else:
        classes = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    if not decoding.multi_label and scores.shape[1] > 1:
        best = np.argmax(np.nan_to_num(scores, nan=-np.inf), axis=1)[:, None]
        scores, classes = (np.take_along_axis(array, best, axis=1) for array in (scores, classes))
    fit = (scores >= decoding.score_threshold) & np.isfinite(scores) & (classes >= 0)
    fit &= np.isfinite(boxes).all(axis=1)[:, None]
    rows, columns = np.nonzero(fit)
    if len(rows) > _MOST_CANDIDATES:
        strongest = np.argsort(-scores[rows, columns], kind="stable")[:_MOST_CANDIDATES]
        rows, columns = rows[strongest], columns[strongest]
    found = Boxes(
        boxes[rows], np.minimum(scores[rows, columns], np.float32(1)), classes[rows, columns].astype(np.int64)
    )
    kept = non_maximum_suppression(
        found.boxes,
        found.scores,
        found.classes,
        iou=decoding.iou_threshold,
        limit=decoding.max_detections,
        class_agnostic=decoding.class_agnostic,
    )
    return Boxes(found.boxes[kept], found.scores[kept], found.classes[kept])


def _scores(candidates: _Candidates, index: int) -> FloatArray:
    """Return float32 [M, C]: class score times objectness, or the one of them there is."""
    parts = [candidates.class_scores[index]] if candidates.class_scores is not None else []
    if candidates.objectness is not None:
        parts.append(candidates.objectness[index][:, None])
    return functools.reduce(np.multiply, parts)


def _check_probabilities(scores: FloatArray) -> None:
    highest = float(np.max(scores, initial=0, where=np.isfinite(scores)))
    if highest > _HIGHEST_SCORE:
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED,
            f"The model's scores go up to {highest:.4g}, so they are no probabilities. Set class_activation or "
            "objectness_activation in the model's metadata to sigmoid or softmax.",
        )


def _power(values: FloatArray, power: float) -> FloatArray:
    if power == 1:
        return values
    result: FloatArray = np.power(values, np.float32(power))
    return result


def _sigmoid(values: FloatArray) -> FloatArray:
    result: FloatArray = np.float32(0.5) * (np.tanh(np.float32(0.5) * values) + np.float32(1))
    return result


def _softmax(values: FloatArray) -> FloatArray:
    powers: FloatArray = np.exp(values - values.max(axis=-1, keepdims=True))
    result: FloatArray = powers / powers.sum(axis=-1, keepdims=True)
    return result


_ACTIVATIONS: dict[Activation, Callable[[FloatArray], FloatArray]] = {
    Activation.NONE: lambda values: values,
    Activation.SIGMOID: _sigmoid,
    Activation.TANH: np.tanh,
    Activation.EXP: np.exp,
    Activation.SOFTMAX: _softmax,
}

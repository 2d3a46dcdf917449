"""Decodes the outputs of a detector into boxes, scores and classes, as its ``DetectionDecoding`` describes them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.box_decoding import box_priors, decode_boxes
from faceter.vision.boxes import Detections, FloatArray, IntArray, non_maximum_suppression
from faceter.vision.head_outputs import ACTIVATIONS, head_output, named_output, power, shape_error
from faceter.vision.preprocess import Placement

EVALUATION_SCORE_THRESHOLD = 0.05
"""Score threshold for mean average precision, which needs low-scoring boxes too."""

_MAX_CANDIDATES = 30_000
"""Candidates of one image, best first, that enter non-maximum suppression, as in YOLOv5."""

_MAX_SCORE = 1.01
"""Tolerance for rounding; scores above it are not probabilities."""


def for_evaluation(decoding: DetectionDecoding) -> DetectionDecoding:
    """Return the same decoding with ``EVALUATION_SCORE_THRESHOLD``, for mean average precision."""
    return decoding.model_copy(update={"score_threshold": EVALUATION_SCORE_THRESHOLD})


def decode(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, input_size: tuple[int, int]
) -> list[Detections]:
    """Decode a detector's outputs to boxes in pixels of the model's input.

    Args:
        outputs: Every output that ``decoding`` names, batch first. A direct head may omit the batch axis.
        decoding: Description of the head.
        input_size: Height and width of the model's input, pixels.

    Returns:
        One ``Detections`` per image, best first. Boxes with non-finite coordinates or scores are dropped. Boxes may
        extend beyond the input.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if an output is missing or does not have the described shape.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        candidates = _candidates(outputs, decoding, input_size)
        return [_select(candidates, index, decoding) for index in range(len(candidates.boxes))]


def decode_to_image_pixels(
    outputs: Mapping[str, NDArray[Any]],
    decoding: DetectionDecoding,
    input_size: tuple[int, int],
    placements: Sequence[Placement],
    *,
    clip: bool = True,
) -> list[Detections]:
    """Decode a detector's outputs to boxes in pixels of the original images.

    Args:
        outputs: As for ``decode``.
        decoding: Description of the head.
        input_size: Height and width of the model's input, pixels.
        placements: Position of each image in its input, as ``preprocess`` returns it.
        clip: Whether to clip boxes to the images. Clipping raises mean average precision (on FastestDet by 1.6 points
            at [.5:.95]), so results to compare with published ones are measured without.

    Returns:
        One ``Detections`` per image, best first.

    Raises:
        FaceterError: As ``decode`` does.
        ValueError: If the numbers of placements and images differ.
    """
    return [
        Detections(placement.to_image_pixels(item.boxes, clip=clip), item.scores, item.classes)
        for item, placement in zip(decode(outputs, decoding, input_size), placements, strict=True)
    ]


@dataclass(frozen=True)
class _Candidates:
    """All candidate boxes of a batch, before thresholding and non-maximum suppression."""

    boxes: FloatArray
    """float32 [N, M, 4]: left, top, right, bottom, input pixels."""
    objectness: FloatArray | None
    """float32 [N, M], already raised to its power."""
    class_scores: FloatArray | None
    """float32 [N, M, C] without the background class, already raised to their power."""
    classes: IntArray | None
    """int64 [N, M] if the model outputs class indices; negative for the background."""


def _candidates(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, input_size: tuple[int, int]
) -> _Candidates:
    heads = [head_output(named_output(outputs, name), decoding, name) for name in decoding.box_outputs]
    boxes = [
        decode_boxes(head.values, box_priors(decoding, head, index, input_size), decoding, input_size)
        for index, head in enumerate(heads)
    ]
    values = np.concatenate([head.values for head in heads], axis=1) if len(heads) > 1 else heads[0].values
    return _Candidates(
        boxes=np.concatenate(boxes, axis=1),
        objectness=_objectness(values, decoding),
        class_scores=_class_scores(values, outputs, decoding),
        classes=_class_indices(values, outputs, decoding),
    )


def _objectness(values: FloatArray, decoding: DetectionDecoding) -> FloatArray | None:
    if decoding.objectness_offset is None:
        return None
    raw = values[..., decoding.objectness_offset]
    return power(ACTIVATIONS[decoding.objectness_activation](raw), decoding.objectness_power)


def _class_scores(
    values: FloatArray, outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> FloatArray | None:
    if decoding.class_offset is None:
        return None
    if decoding.scores is not None:
        values = np.concatenate(
            [_score_output(named_output(outputs, name), values, decoding, name) for name in decoding.score_outputs],
            axis=1,
        )
    count = 1 if decoding.class_is_chosen else decoding.class_count
    end = None if count is None else decoding.class_offset + count
    raw = values[..., decoding.class_offset : end]
    scores = ACTIVATIONS[decoding.class_activation](raw)
    if decoding.background_class is not None and not decoding.class_is_chosen:
        scores = np.delete(scores, decoding.background_class, axis=-1)
    return power(scores, decoding.class_power)


def _score_output(output: NDArray[Any], boxes: FloatArray, decoding: DetectionDecoding, name: str) -> FloatArray:
    """Return float32 [N, M, values]; one score per box may have no values axis."""
    if decoding.class_is_chosen and output.size == boxes.shape[0] * boxes.shape[1]:
        return np.asarray(output, np.float32).reshape(*boxes.shape[:2], 1)
    scores = head_output(output, decoding, name).values
    if len(decoding.score_outputs) == 1 and scores.shape[:2] != boxes.shape[:2]:
        raise shape_error(name, output, f"{boxes.shape[1]} candidates, as many as there are boxes")
    return scores


def _class_indices(
    values: FloatArray, outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> IntArray | None:
    if decoding.class_index_offset is not None:
        indices = np.asarray(values[..., decoding.class_index_offset])
    elif decoding.classes is not None:
        output = named_output(outputs, decoding.classes)
        if output.size != values.shape[0] * values.shape[1]:
            raise shape_error(decoding.classes, output, f"one class for each of {values.shape[1]} boxes")
        indices = output.reshape(values.shape[:2])
    else:
        return None
    classes = np.nan_to_num(np.rint(indices), nan=-1).astype(np.int64)
    if decoding.background_class is None:
        return classes
    foreground = np.where(classes > decoding.background_class, classes - 1, classes)
    return np.where(classes == decoding.background_class, -1, foreground)


def _select(candidates: _Candidates, index: int, decoding: DetectionDecoding) -> Detections:
    """Return the boxes of one image that pass the score threshold and non-maximum suppression."""
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
    valid = (scores >= decoding.score_threshold) & np.isfinite(scores) & (classes >= 0)
    valid &= np.isfinite(boxes).all(axis=1)[:, None]
    rows, columns = np.nonzero(valid)
    if len(rows) > _MAX_CANDIDATES:
        top = np.argsort(-scores[rows, columns], kind="stable")[:_MAX_CANDIDATES]
        rows, columns = rows[top], columns[top]
    found = Detections(
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
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


def _scores(candidates: _Candidates, index: int) -> FloatArray:
    """Return float32 [M, C]: class score times objectness, or the only one of the two."""
    factors = [candidates.class_scores[index]] if candidates.class_scores is not None else []
    if candidates.objectness is not None:
        factors.append(candidates.objectness[index][:, None])
    return functools.reduce(np.multiply, factors)


def _check_probabilities(scores: FloatArray) -> None:
    highest = float(np.max(scores, initial=0, where=np.isfinite(scores)))
    if highest > _MAX_SCORE:
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED,
            f"The model's scores go up to {highest:.4g}, so they are no probabilities. Set class_activation or "
            "objectness_activation in the model's metadata to sigmoid or softmax.",
        )

"""Decodes the outputs of a detector into boxes, scores and classes, as its ``DetectionDecoding`` describes them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.boxes import Detections, FloatArray, non_maximum_suppression
from faceter.vision.candidates import Candidates, all_candidates
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
        candidates = all_candidates(outputs, decoding, input_size)
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
        replace(
            item,
            boxes=placement.to_image_pixels(item.boxes, clip=clip),
            keypoints=None if item.keypoints is None else placement.points_to_image_pixels(item.keypoints, clip=clip),
        )
        for item, placement in zip(decode(outputs, decoding, input_size), placements, strict=True)
    ]


def _select(candidates: Candidates, index: int, decoding: DetectionDecoding) -> Detections:
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
    valid &= (np.isfinite(boxes).all(axis=1) & candidates.valid[index])[:, None]
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
    rows = rows[kept]
    return Detections(
        found.boxes[kept],
        found.scores[kept],
        found.classes[kept],
        keypoints=None if candidates.keypoints is None else candidates.keypoints[index][rows],
        coefficients=None if candidates.coefficients is None else candidates.coefficients[index][rows],
    )


def _scores(candidates: Candidates, index: int) -> FloatArray:
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

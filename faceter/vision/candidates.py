"""All candidate boxes of a detector's outputs, before thresholds and non-maximum suppression."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from faceter.contracts.detection import DetectionDecoding
from faceter.vision.box_decoding import box_priors, decode_boxes
from faceter.vision.boxes import FloatArray, IntArray
from faceter.vision.head_outputs import (
    ACTIVATIONS,
    HeadOutput,
    head_output,
    named_output,
    power,
    shape_error,
    value_output,
)
from faceter.vision.valid_boxes import box_counts, with_batch_axis


@dataclass(frozen=True)
class Candidates:
    """All candidate boxes of a batch."""

    boxes: FloatArray
    """float32 [N, M, 4]: left, top, right, bottom, input pixels."""
    objectness: FloatArray | None
    """float32 [N, M], already raised to its power."""
    class_scores: FloatArray | None
    """float32 [N, M, C] without the background class, already raised to their power."""
    classes: IntArray | None
    """int64 [N, M] if the model outputs class indices; negative for the background."""
    valid: NDArray[np.bool_]
    """bool [N, M]: whether the model counts the box among its results."""
    keypoints: FloatArray | None
    """float32 [N, M, K, 2 or 3]: x and y in input pixels, and visibility."""
    coefficients: FloatArray | None
    """float32 [N, M, P]: coefficients of the mask prototypes."""


def all_candidates(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, input_size: tuple[int, int]
) -> Candidates:
    """Return every candidate of a batch.

    Args:
        outputs: Every output that ``decoding`` names, batch first.
        decoding: Description of the head.
        input_size: Height and width of the model's input, pixels.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if an output is missing or does not have the described shape.
    """
    counts = box_counts(outputs, decoding)
    if counts is not None:
        outputs = with_batch_axis(outputs, decoding, counts)
    names = decoding.box_outputs
    heads = [head_output(named_output(outputs, name), decoding, name, index) for index, name in enumerate(names)]
    centers = _centers(outputs, decoding, heads)
    boxes = [
        decode_boxes(
            head.values,
            box_priors(decoding, head, index, input_size),
            decoding,
            input_size,
            centers[index] if centers else None,
        )
        for index, head in enumerate(heads)
    ]
    values = _joined([head.values for head in heads], names)
    valid = np.ones(values.shape[:2], np.bool_)
    if counts is not None:
        if decoding.count is not None and len(counts) != len(values):
            raise shape_error(decoding.count, counts, f"a number of boxes for each of {len(values)} images")
        valid = np.arange(values.shape[1]) < counts[:, None]
    return Candidates(
        boxes=np.concatenate(boxes, axis=1),
        objectness=_objectness(values, heads, outputs, decoding),
        class_scores=_class_scores(values, heads, outputs, decoding),
        classes=_class_indices(values, outputs, decoding),
        valid=valid,
        keypoints=_keypoints(values, decoding),
        coefficients=_coefficients(values, decoding),
    )


def _centers(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, heads: list[HeadOutput]
) -> list[FloatArray] | None:
    if decoding.centers is None:
        return None
    names = [decoding.centers] if isinstance(decoding.centers, str) else decoding.centers
    found = []
    for index, (name, head) in enumerate(zip(names, heads, strict=True)):
        values = head_output(named_output(outputs, name), decoding, name, index).values
        _require(name, values, head.values.shape[:2])
        if values.shape[2] < 2:
            raise shape_error(name, values, "two centre values")
        found.append(values)
    return found


def _joined(parts: list[FloatArray], names: list[str]) -> FloatArray:
    """Return the candidates of all feature maps, float32 [N, M, values]."""
    first = parts[0]
    for name, part in zip(names, parts, strict=True):
        if part.shape[0] != first.shape[0] or part.shape[2] != first.shape[2]:
            required = f"{first.shape[2]} values of a candidate and {first.shape[0]} images, as '{names[0]}' has"
            raise shape_error(name, part, required)
    return np.concatenate(parts, axis=1) if len(parts) > 1 else first


def _require(name: str, values: FloatArray, expected: tuple[int, ...]) -> None:
    """Check that an output has values for as many images and candidates as the boxes."""
    if values.shape[:2] != expected:
        raise shape_error(name, values, f"{expected[1]} candidates of {expected[0]} images, as there are boxes")


def _objectness(
    values: FloatArray, heads: list[HeadOutput], outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> FloatArray | None:
    offset = decoding.objectness_offset
    if decoding.objectness is not None:
        names = [decoding.objectness] if isinstance(decoding.objectness, str) else decoding.objectness
        parts = [
            value_output(named_output(outputs, name), decoding, name, index, head.values.shape[:2])
            for index, (name, head) in enumerate(zip(names, heads, strict=True))
        ]
        for name, part, head in zip(names, parts, heads, strict=True):
            _require(name, part, head.values.shape[:2])
            if part.shape[2] <= (offset or 0):
                raise shape_error(name, part, f"a value at position {offset or 0}")
        raw = _joined(parts, names)[..., offset or 0]
    elif offset is not None:
        if offset >= values.shape[2]:
            raise shape_error(", ".join(decoding.box_outputs), values, f"an objectness at position {offset}")
        raw = values[..., offset]
    else:
        return None
    return power(ACTIVATIONS[decoding.objectness_activation](raw), decoding.objectness_power)


def _class_scores(
    values: FloatArray, heads: list[HeadOutput], outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> FloatArray | None:
    if decoding.class_offset is None:
        return None
    if decoding.scores is not None:
        parts = [
            value_output(
                named_output(outputs, name),
                decoding,
                name,
                index,
                head.values.shape[:2] if decoding.class_is_chosen else None,
            )
            for index, (name, head) in enumerate(zip(decoding.score_outputs, heads, strict=True))
        ]
        for name, part, head in zip(decoding.score_outputs, parts, heads, strict=True):
            _require(name, part, head.values.shape[:2])
        values = _joined(parts, decoding.score_outputs)
    count = 1 if decoding.class_is_chosen else decoding.class_count
    end = None if count is None else decoding.class_offset + count
    raw = values[..., decoding.class_offset : end]
    if not raw.shape[-1]:
        name = ", ".join(decoding.score_outputs)
        raise shape_error(name, values, f"a class score at position {decoding.class_offset}")
    scores = ACTIVATIONS[decoding.class_activation](raw)
    if decoding.background_class is not None and not decoding.class_is_chosen:
        if decoding.background_class >= scores.shape[-1]:
            name = ", ".join(decoding.score_outputs)
            raise shape_error(name, values, f"a background class at position {decoding.background_class}")
        scores = np.delete(scores, decoding.background_class, axis=-1)
    if decoding.peak_window is not None:
        scores = _peaks(scores, [head.cells for head in heads], decoding.peak_window)
    return power(scores, decoding.class_power)


def _peaks(scores: FloatArray, maps: list[tuple[int, ...]], window: int) -> FloatArray:
    """Return scores [N, M, C], zero where they are not the highest of their class within the window of cells."""
    parts, start, margin = [], 0, window // 2
    for cells in maps:
        some = scores[:, start : start + math.prod(cells)]
        start += some.shape[1]
        if not some.size:
            parts.append(some)
            continue
        grid = some.reshape(len(some), *cells, -1)
        padded = np.pad(grid, ((0, 0), (margin, margin), (margin, margin), (0, 0)), constant_values=-np.inf)
        highest = sliding_window_view(padded, (window, window), axis=(1, 2)).max(axis=(-2, -1))
        parts.append(np.where(grid == highest, grid, 0).reshape(some.shape))
    return np.concatenate(parts, axis=1)


def _class_indices(
    values: FloatArray, outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding
) -> IntArray | None:
    if decoding.class_index_offset is not None:
        if decoding.class_index_offset >= values.shape[2]:
            required = f"a class index at position {decoding.class_index_offset}"
            raise shape_error(", ".join(decoding.box_outputs), values, required)
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


def _keypoints(values: FloatArray, decoding: DetectionDecoding) -> FloatArray | None:
    part = decoding.keypoints
    if part is None:
        return None
    raw = values[..., part.offset : part.offset + part.count * part.values]
    if raw.shape[-1] != part.count * part.values:
        required = f"{part.count * part.values} values of key points from position {part.offset} on"
        raise shape_error(", ".join(decoding.box_outputs), values, required)
    return raw.reshape(*raw.shape[:-1], part.count, part.values)


def _coefficients(values: FloatArray, decoding: DetectionDecoding) -> FloatArray | None:
    part = decoding.masks
    if part is None:
        return None
    raw = values[..., part.offset : part.offset + part.count]
    if raw.shape[-1] != part.count:
        required = f"{part.count} mask coefficients from position {part.offset} on"
        raise shape_error(", ".join(decoding.box_outputs), values, required)
    return raw

"""Boxes of models that suppress duplicates themselves, and say how many boxes each image has."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.detection import DetectionDecoding
from faceter.vision.boxes import IntArray
from faceter.vision.head_outputs import named_output, shape_error


def box_counts(outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding) -> IntArray | None:
    """Return the number of boxes of each image, int64 [N]; None if the model does not output it."""
    if decoding.count is None:
        return None
    counts = np.asarray(named_output(outputs, decoding.count)).reshape(-1)
    whole: IntArray = np.maximum(np.nan_to_num(np.rint(counts)), 0).astype(np.int64)
    return whole


def with_batch_axis(
    outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding, counts: IntArray
) -> dict[str, NDArray[Any]]:
    """Return outputs with a batch axis, where boxes of all images follow each other without one (PaddleDetection).

    Args:
        outputs: All outputs.
        decoding: Description of the head.
        counts: int64 [N]: number of boxes of each image.

    Returns:
        All outputs; those with all boxes on their first axis as [N, most boxes of an image, …], filled up with zeros.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if there are fewer boxes than counted.
    """
    changed = dict(outputs)
    first = np.asarray(named_output(outputs, decoding.box_outputs[0]))
    if first.ndim != 2:
        return changed
    total = int(counts.sum())
    beside = [*decoding.score_outputs, *([decoding.classes] if decoding.classes else [])]
    for name in dict.fromkeys([*decoding.box_outputs, *beside]):
        output = np.asarray(named_output(outputs, name))
        if len(output) < total:
            raise shape_error(name, output, f"{total} boxes, as output '{decoding.count}' counts")
        rows = np.split(output[:total], np.cumsum(counts)[:-1]) if len(counts) else []
        padded = np.zeros((len(counts), max(int(counts.max(initial=0)), 1), *output.shape[1:]), output.dtype)
        for image, some in zip(padded, rows, strict=True):
            image[: len(some)] = some
        changed[name] = padded
    return changed

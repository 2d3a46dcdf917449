"""Instance masks of a detector: added up from prototypes, cut to their boxes, as run lengths in the image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from faceter.vision.boxes import Detections, FloatArray
from faceter.vision.preprocess import Placement


@dataclass(frozen=True)
class RunLengths:
    """A mask as pycocotools encodes it: run lengths column by column, as text."""

    size: tuple[int, int]
    """Height and width in pixels."""
    counts: str
    """Compressed run lengths."""


def instance_masks(
    detections: Detections, prototypes: FloatArray, input_size: tuple[int, int], placement: Placement
) -> list[RunLengths]:
    """Return the mask of each detection of one image, in pixels of the image.

    The sum of the prototypes, weighted by a detection's coefficients, is interpolated bilinearly at the middle of each
    pixel of the image; a pixel belongs to the mask if the sum is above 0 and its middle lies in the box.

    Args:
        detections: With coefficients; boxes in pixels of the image.
        prototypes: float [P, rows, columns]: they cover the whole input of the model.
        input_size: Height and width of the model's input, pixels.
        placement: Position of the image in the input.

    Raises:
        ValueError: If the detections have no coefficients, or not as many as there are prototypes.
    """
    coefficients = detections.coefficients
    if coefficients is None or coefficients.shape[-1] != len(prototypes):
        raise ValueError(f"{len(prototypes)} prototypes need as many coefficients")
    sums = np.tensordot(coefficients.astype(np.float32), np.asarray(prototypes, np.float32), axes=1)
    return [
        _encoded(*_in_box(logits, box, input_size, placement), placement.image)
        for logits, box in zip(sums, detections.boxes.tolist(), strict=True)
    ]


def whole_input(input_size: tuple[int, int]) -> Placement:
    """Return the placement of an image that is the model's input itself."""
    return Placement((1.0, 1.0), (0.0, 0.0), (input_size[1], input_size[0]))


def _in_box(
    logits: FloatArray, box: list[float], input_size: tuple[int, int], placement: Placement
) -> tuple[NDArray[np.bool_], tuple[int, int]]:
    """Return the mask of the pixels whose middle lies in the box, bool [h, w], and the left top one of them (x, y)."""
    ranges = []
    for start, end, side in zip(box[:2], box[2:], placement.image, strict=True):
        first = max(int(np.ceil(start - 0.5)), 0)
        ranges.append((first, max(min(int(np.floor(end - 0.5)) + 1, side), first)))
    (left, right), (top, bottom) = ranges
    rows, columns = logits.shape
    x = _positions(left, right, placement.scale[0], placement.offset[0], columns / input_size[1], columns)
    y = _positions(top, bottom, placement.scale[1], placement.offset[1], rows / input_size[0], rows)
    across = _interpolated(logits, x, axis=1)
    return _interpolated(across, y, axis=0) > 0, (left, top)


def _positions(start: int, end: int, scale: float, offset: float, to_prototype: float, count: int) -> FloatArray:
    """Return where the middles of pixels start…end of the image lie among `count` prototype values."""
    inputs = (np.arange(start, end) + 0.5) * scale + offset
    positions: FloatArray = np.clip(inputs * to_prototype - 0.5, 0, count - 1)
    return positions


def _interpolated(values: FloatArray, positions: FloatArray, axis: int) -> FloatArray:
    lower = np.floor(positions).astype(np.int64)
    upper = np.minimum(lower + 1, values.shape[axis] - 1)
    weight = (positions - lower).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight[None, :]
    result: FloatArray = np.take(values, lower, axis) * (1 - weight) + np.take(values, upper, axis) * weight
    return result


def _encoded(mask: NDArray[np.bool_], corner: tuple[int, int], image: tuple[int, int]) -> RunLengths:
    """Return the run lengths of a mask that covers a part of an image; work is in proportion to that part."""
    width, height = image
    left, top = corner
    padded = np.pad(mask, ((1, 1), (0, 0))).astype(np.int8)
    changes = np.diff(padded, axis=0).T
    column, row = np.nonzero(changes)
    # Runs alternate between start and end; each position counts pixels column by column.
    positions = (left + column) * height + top + row
    starts, ends = positions[::2], positions[1::2]
    apart = np.append(True, starts[1:] != ends[:-1]) if len(starts) else np.zeros(0, np.bool_)
    joined = np.stack([starts[apart], ends[np.append(apart[1:], True)] if len(ends) else ends], axis=1).reshape(-1)
    bounds = [0, *joined.tolist(), *([width * height] if not len(joined) or joined[-1] < width * height else [])]
    counts = np.diff(bounds).tolist()
    encoded = coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return RunLengths((height, width), encoded["counts"].decode("ascii"))

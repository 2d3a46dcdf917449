from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceter.vision.boxes import Detections
from faceter.vision.instance_masks import RunLengths, instance_masks, whole_input
from faceter.vision.preprocess import Placement
from tests.coco_masks import mask_pixels, run_lengths


def decoded(mask: RunLengths) -> NDArray[np.uint8]:
    return mask_pixels({"size": list(mask.size), "counts": mask.counts})


def found(boxes: NDArray[Any], coefficients: NDArray[Any]) -> Detections:
    count = len(boxes)
    return Detections(
        boxes.astype(np.float32),
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
        coefficients=coefficients.astype(np.float32),
    )


def by_pixel(sums: NDArray[Any], box: list[float], size: tuple[int, int], placement: Placement) -> NDArray[np.uint8]:
    """Return the mask, one pixel at a time: bilinear at its middle, if that lies in the box."""
    width, height = placement.image
    mask = np.zeros((height, width), np.uint8)
    rows, columns = sums.shape
    for y in range(height):
        for x in range(width):
            if not (box[0] <= x + 0.5 <= box[2] and box[1] <= y + 0.5 <= box[3]):
                continue
            u = ((x + 0.5) * placement.scale[0] + placement.offset[0]) * columns / size[1] - 0.5
            v = ((y + 0.5) * placement.scale[1] + placement.offset[1]) * rows / size[0] - 0.5
            u, v = min(max(u, 0), columns - 1), min(max(v, 0), rows - 1)
            left, top = int(u), int(v)
            right, below = min(left + 1, columns - 1), min(top + 1, rows - 1)
            across, down = u - left, v - top
            value = (
                sums[top, left] * (1 - across) * (1 - down)
                + sums[top, right] * across * (1 - down)
                + sums[below, left] * (1 - across) * down
                + sums[below, right] * across * down
            )
            mask[y, x] = value > 0
    return mask


@given(st.integers(0, 2**32 - 1))
def test_masks_equal_the_sum_of_prototypes_pixel_by_pixel(seed: int) -> None:
    generator = np.random.default_rng(seed)
    size = (32, 48)
    width, height = (int(value) for value in generator.integers(1, 30, 2))
    placement = Placement((1.3, 0.9), (2.0, -3.0), (width, height))
    prototypes = generator.normal(size=(5, 8, 12)).astype(np.float32)
    coefficients = generator.normal(size=(3, 5)).astype(np.float32)
    corners = np.sort(generator.uniform(-2, 32, (3, 2, 2)), axis=1)
    boxes = np.clip(corners.reshape(3, 4), 0, [width, height, width, height])
    masks = instance_masks(found(boxes, coefficients), prototypes, size, placement)
    for mask, row, box in zip(masks, coefficients, boxes.astype(np.float32).tolist(), strict=True):
        sums = np.tensordot(row, prototypes, axes=1)
        expected = by_pixel(sums, box, size, placement)
        differing = decoded(mask) != expected
        assert differing.sum() <= 1  # a sum that rounds to either side of 0
        assert mask.size == (height, width)


@given(st.integers(0, 2**32 - 1))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = (int(value) for value in generator.integers(1, 12, 2))
    prototypes = np.sign(generator.normal(size=(1, height, width)) + generator.choice([-2, 0, 2])).astype(np.float32)
    box = np.array([[0, 0, width, height]])
    (mask,) = instance_masks(found(box, np.ones((1, 1))), prototypes, (height, width), whole_input((height, width)))
    assert mask.counts == run_lengths(prototypes[0] > 0)


def test_coefficients_must_be_as_many_as_prototypes() -> None:
    with pytest.raises(ValueError, match="3 prototypes"):
        instance_masks(found(np.zeros((1, 4)), np.zeros((1, 2))), np.zeros((3, 4, 4)), (8, 8), whole_input((8, 8)))

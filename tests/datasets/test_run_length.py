# mypy: disable-error-code="no-untyped-call"
"""Boxes and areas of masks are those that pycocotools computes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from faceter.datasets.run_length import mask_extent

masks = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1))


def uncompressed(mask: NDArray[np.uint8]) -> list[int]:
    """Return the counts of runs of 0 and of 1 in turns, down each column."""
    counts, value = [0], 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


@given(masks)
def test_run_lengths(mask: NDArray[np.uint8]) -> None:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    size = [int(side) for side in mask.shape]
    found = [mask_extent({"size": size, "counts": form}) for form in (encoded["counts"].decode(), uncompressed(mask))]
    if not mask.any():
        assert found == [None, None]
        return
    box = coco_mask.toBbox(encoded).tolist()
    assert found == [(box, float(coco_mask.area(encoded)))] * 2
    rows, columns = np.where(mask)
    assert box == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]


@given(st.integers(1, 4000), st.integers(0, 10**6))
def test_long_runs(height: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, 3)) < 0.001
    mask[height // 2] = True
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    found = mask_extent({"size": [height, 3], "counts": encoded["counts"].decode()})
    assert found == (coco_mask.toBbox(encoded).tolist(), float(mask.sum()))


def test_polygons() -> None:
    square, triangle = [1, 2, 5, 2, 5, 6, 1, 6], [10, 0, 14, 0, 10, 3]
    assert mask_extent([square]) == ([1, 2, 4, 4], 16)
    assert mask_extent([square, triangle]) == ([1, 0, 13, 6], 22)


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        {},
        "mask",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, 4, 5, "6"]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [[1, 2, 3, 4, 5, 10**400]],
        [1, 2, 3, 4, 5, 6],
        {"size": [2, 2], "counts": [4]},
        {"size": [2, 2], "counts": [0, 5]},
        {"size": [2, 2], "counts": [0, 3]},
        {"size": [2, 2], "counts": [-1, 5]},
        {"size": [2, 2], "counts": [0, 4.0]},
        {"size": [2, 2], "counts": [True, 3]},
        {"size": [2, 2], "counts": [0, 10**400]},
        {"size": [2, 2], "counts": []},
        {"size": [2, 2], "counts": {}},
        {"size": [2, 2]},
        {"size": [0, 2], "counts": [0]},
        {"size": [2], "counts": [0, 2]},
        {"size": "22", "counts": [0, 4]},
        {"size": [2, 2], "counts": ""},
        {"size": [2, 2], "counts": "o"},
        {"size": [2, 2], "counts": "ooooooooooooooooooooooo0"},
        {"size": [2, 2], "counts": "é"},
    ],
)
def test_what_is_no_mask_has_no_box(segmentation: Any) -> None:
    assert mask_extent(segmentation) is None


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=30))
def test_any_compressed_text_is_a_mask_or_none(text: str) -> None:
    found = mask_extent({"size": [7, 5], "counts": text})
    if found is not None:
        (left, top, width, height), area = found
        assert 0 <= left < left + width <= 5
        assert 0 <= top < top + height <= 7
        assert 0 < area <= 35

"""Outputs of any shape are decoded, or refused with the output at fault; never another error."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.detection import decode

DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "direct": {"head": "direct", "boxes": "a", "class_offset": 4},
    "values last": {"head": "direct", "boxes": "a", "layout": "channels_last", "class_offset": 4, "class_count": 2},
    "scores apart": {"head": "direct", "boxes": "a", "scores": "b", "objectness": "c", "layout": "channels_last"},
    "class indices": {"head": "direct", "boxes": "a", "scores": "b", "classes": "c", "layout": "channels_last"},
    "counted": {
        "head": "direct",
        "boxes": "a",
        "count": "b",
        "layout": "channels_last",
        "objectness_offset": 1,
        "class_offset": None,
        "class_index_offset": 0,
        "box_offset": 2,
    },
    "cells": {"head": "grid", "boxes": "a", "objectness_offset": 4, "class_offset": 5},
    "centres apart": {"head": "grid", "boxes": "a", "centers": "b", "scores": "c", "peak_window": 3},
    "bins": {"head": "grid", "boxes": ["a", "b"], "box_format": "distances", "bins": 2, "class_offset": 8},
    "strides": {"head": "grid", "boxes": "a", "strides": [8, 16], "layout": "channels_last"},
    "anchors": {"head": "anchors", "boxes": "a", "scores": "b", "layout": "channels_last", "anchor_grid": {}},
    "key points": {
        "head": "direct",
        "boxes": "a",
        "keypoints": {"offset": 5, "count": 2},
        "masks": {"prototypes": "b", "offset": 4, "count": 1},
    },
    "background": {"head": "direct", "boxes": "a", "layout": "channels_last", "background_class": 3},
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
@given(data=st.data())
def test_any_outputs_are_decoded_or_refused(name: str, data: st.DataObject) -> None:
    decoding = DetectionDecoding.model_validate(DESCRIPTIONS[name])
    kinds: set[ProblemKind] = set()
    shapes = array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9)
    outputs = {output: np.random.default_rng(0).random(data.draw(shapes, label=output), np.float32) for output in "abc"}
    try:
        found = decode(outputs, decoding, (32, 32))
    except FaceterError as error:
        kinds.add(error.kind)
    else:
        assert all(len(each.boxes) == len(each.scores) == len(each.classes) for each in found)
    assert kinds <= {ProblemKind.INFERENCE_FAILED}


def test_maps_without_cells_have_no_boxes() -> None:
    shapes = {"a": (2, 2, 0, 0), "b": (2, 2, 0), "c": (2, 1, 0)}
    outputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    found = decode(outputs, DetectionDecoding.model_validate(DESCRIPTIONS["centres apart"]), (32, 32))
    assert [len(each.boxes) for each in found] == [0, 0]

"""Contradictions in the description of a detector's head are refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from faceter.contracts.detection import DetectionDecoding, DetectionPreset
from faceter.contracts.detection_parts import MaskDecoding

GRID: dict[str, Any] = {"head": "grid", "boxes": "out"}
DIRECT: dict[str, Any] = {"head": "direct", "boxes": "out"}


def test_names_may_stand_alone_or_in_a_list() -> None:
    assert DetectionDecoding(**GRID).box_outputs == ["out"]
    assert DetectionDecoding(**GRID).score_outputs == ["out"]
    both = DetectionDecoding(head="grid", boxes=["a", "b"], scores=["c", "d"])
    assert both.box_outputs == ["a", "b"]
    assert both.score_outputs == ["c", "d"]


def test_it_survives_json() -> None:
    decoding = DetectionDecoding(**GRID, size_unit="anchor", anchors=[[0.1, 0.2]], strides=[8])
    assert DetectionDecoding.model_validate_json(decoding.model_dump_json()) == decoding


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({**GRID, "boxes": []}, "at least 1"),
        ({**GRID, "boxes": ["a", "b"], "scores": "c"}, "give one for each"),
        ({**DIRECT, "boxes": ["a", "b"]}, "several outputs"),
        ({**DIRECT, "strides": [8]}, "strides are for a grid head"),
        ({**GRID, "strides": [8], "anchors_per_cell": 3}, "one candidate per cell"),
        ({**DIRECT, "anchors_per_cell": 3}, "neither anchors"),
        ({**DIRECT, "anchors": [[0.1, 0.2]]}, "neither anchors"),
        ({**GRID, "boxes": ["a", "b"], "strides": [8, 16]}, "several outputs"),
        ({**GRID, "boxes": ["a", "b"], "classes": "c"}, "several outputs"),
        ({**GRID, "scores": ["a", "b"]}, "scores names 2 outputs, but boxes names 1"),
        ({**GRID, "box_format": "corners"}, "corners is for a direct head"),
        ({**DIRECT, "box_format": "distances"}, "distances is for a grid head"),
        ({**GRID, "center_activation": "softmax"}, "cannot be softmax"),
        ({**GRID, "size_activation": "softmax"}, "size_activation cannot be softmax"),
        ({**GRID, "objectness_activation": "softmax"}, "objectness_activation cannot be softmax"),
        ({"head": "anchors", "boxes": "out", "box_format": "distances"}, "distances is for a grid head"),
        ({"head": "anchors", "boxes": "out"}, "needs anchors"),
        ({"head": "anchors", "boxes": "out", "anchors": [[0.1, 0.2]]}, "needs anchors, each"),
        ({**GRID, "size_unit": "anchor"}, "needs 1 anchors"),
        ({**GRID, "size_unit": "anchor", "anchors_per_cell": 2, "anchors": [[0.1, 0.2]]}, "needs 2 anchors"),
        ({**GRID, "size_unit": "anchor", "anchors": [[0.1, 0.2, 0.3, 0.4]]}, r"\[width, height\]"),
        ({**GRID, "anchors": [[0.1, 0.2]]}, "only if size_unit is anchor"),
        ({**DIRECT, "classes": "c", "class_index_offset": 5}, "not in both"),
        ({**DIRECT, "classes": "c"}, "needs scores"),
        ({**DIRECT, "class_index_offset": 5}, "needs scores"),
        ({**GRID, "size_unit": "anchor", "strides": [8, 16], "anchors": [[0.1, 0.2]]}, "needs 2 anchors"),
        ({**GRID, "size_unit": "anchor", "boxes": ["a", "b"], "anchors": [[0.1, 0.2]]}, "needs 2 anchors"),
        ({**DIRECT, "class_offset": None}, "objectness_offset is needed"),
        ({**DIRECT, "class_count": 3, "background_class": 3}, "not one of the 3"),
        ({**GRID, "boxes": ["a", "b"], "objectness": "c"}, "objectness names 1 outputs, but boxes names 2"),
        ({**GRID, "boxes": ["a", "b"], "centers": ["c"]}, "centers names 1 outputs, but boxes names 2"),
        ({**GRID, "bins": 16}, "bins are for box_format distances"),
        ({**DIRECT, "centers": "c", "box_format": "corners"}, "box_format center_size"),
        ({**DIRECT, "peak_window": 3}, "peak_window is an odd number"),
        ({**GRID, "peak_window": 4}, "peak_window is an odd number"),
        ({**DIRECT, "anchor_grid": {}}, "a direct head has neither anchors"),
        ({**GRID, "anchor_grid": {}}, "anchor_grid is for an anchors head"),
        ({"head": "anchors", "boxes": "b", "anchors": [[0.5] * 4], "anchor_grid": {}}, "not both"),
        ({"head": "anchors", "boxes": ["a", "b"], "anchor_grid": {}}, "names 2 outputs, but anchor_grid has 5"),
        ({"head": "anchors", "boxes": "b", "anchor_grid": {"strides": [8]}}, "sizes of 5 feature maps"),
        ({"head": "anchors", "boxes": "b", "anchor_grid": {"ratios": [[1], [2]]}}, "ratios of 2 feature maps"),
        ({"head": "anchors", "boxes": "b", "anchor_grid": {"arrangement": "ssd"}}, "has two sizes"),
        ({"preset": "yolov9000"}, "Input should be"),
        ({**DIRECT, "score_threshold": 1.5}, "less than or equal to 1"),
        ({**DIRECT, "center_shift": float("inf")}, "finite"),
        ({**DIRECT, "treshold": 0.5}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DetectionDecoding(**fields)


def test_a_preset_stands_for_what_is_not_given() -> None:
    decoding = DetectionDecoding(preset=DetectionPreset.YOLOV8, score_threshold=0.5)
    assert not decoding.is_resolved
    assert decoding.box_outputs == []
    assert decoding.model_fields_set == {"preset", "score_threshold"}
    assert not DetectionDecoding().is_resolved


def test_all_outputs_are_named_once() -> None:
    decoding = DetectionDecoding(
        **DIRECT, scores="out", objectness="o", count="n", masks=MaskDecoding(prototypes="p", offset=6)
    )
    assert decoding.output_names == ["out", "o", "n", "p"]


@pytest.mark.parametrize(
    "fields",
    [
        {
            **GRID,
            "box_offset": 1,
            "objectness_offset": 0,
            "class_offset": 5,
            "objectness_power": 0.6,
            "class_power": 0.4,
        },
        {**GRID, "boxes": ["a", "b"], "size_unit": "anchor", "anchors_per_cell": 2, "anchors": [[0.1, 0.2]] * 4},
        {**GRID, "strides": [8, 16, 32], "size_unit": "cell", "size_activation": "exp", "layout": "channels_last"},
        {**GRID, "box_format": "distances", "center_shift": 0.5, "size_unit": "cell"},
        {"head": "anchors", "boxes": "b", "scores": "s", "anchors": [[0.5, 0.5, 0.1, 0.2]], "background_class": 0},
        {**DIRECT, "box_format": "corners", "box_units": "pixels", "class_activation": "softmax"},
        {**DIRECT, "classes": "labels", "scores": "scores"},
        {**DIRECT, "class_index_offset": 5, "class_offset": None, "objectness_offset": 4},
    ],
    ids=["FastestDet", "YOLOv5", "YOLOX", "FCOS", "SSD", "DETR", "torchvision", "YOLOv10"],
)
def test_well_known_heads_can_be_described(fields: dict[str, Any]) -> None:
    decoding = DetectionDecoding(**fields)
    assert DetectionDecoding.model_validate_json(decoding.model_dump_json()) == decoding
    assert decoding.class_is_chosen is ("classes" in fields or "class_index_offset" in fields)
    assert len(decoding.score_outputs) == len(decoding.box_outputs)

from typing import Any

import pytest
from pydantic import ValidationError

from faceter.contracts.models import DetectionDecoding

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
        ({**GRID, "box_format": "corners"}, "corners is for a direct head"),
        ({**DIRECT, "box_format": "distances"}, "distances is for a grid head"),
        ({**GRID, "center_activation": "softmax"}, "cannot be softmax"),
        ({"head": "anchors", "boxes": "out"}, "needs anchors"),
        ({"head": "anchors", "boxes": "out", "anchors": [[0.1, 0.2]]}, "needs anchors, each"),
        ({**GRID, "size_unit": "anchor"}, "needs 1 anchors"),
        ({**GRID, "size_unit": "anchor", "anchors_per_cell": 2, "anchors": [[0.1, 0.2]]}, "needs 2 anchors"),
        ({**GRID, "size_unit": "anchor", "anchors": [[0.1, 0.2, 0.3, 0.4]]}, r"\[width, height\]"),
        ({**GRID, "anchors": [[0.1, 0.2]]}, "only if size_unit is anchor"),
        ({**DIRECT, "classes": "c", "class_index_offset": 5}, "not in both"),
        ({**DIRECT, "classes": "c"}, "needs scores"),
        ({**DIRECT, "class_offset": None}, "objectness_offset is needed"),
        ({**DIRECT, "class_count": 3, "background_class": 3}, "not one of the 3"),
        ({**DIRECT, "score_threshold": 1.5}, "less than or equal to 1"),
        ({**DIRECT, "center_shift": float("inf")}, "finite"),
        ({**DIRECT, "treshold": 0.5}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DetectionDecoding(**fields)

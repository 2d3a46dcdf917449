"""Which head is told from outputs and properties alone, and which is left undecided with advice."""

from typing import Any

import pytest

from benchmarks import fastestdet
from faceter.contracts.detection import DetectionDecoding, DetectionPreset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.vision.presets.head_shapes import HeadShapes
from faceter.vision.presets.resolve import advice, certain_preset, fitting_presets, resolved
from faceter.vision.presets.table import PRESETS

Shape = list[int | str | None]


def shapes(
    *outputs: tuple[str, Shape], classes: int | None = None, size: tuple[int, int] | None = (640, 640), **others: Any
) -> HeadShapes:
    image = TensorSpec(name="images", dtype="float32", shape=[1, 3, *(size or ("h", "w"))])
    specs = [TensorSpec(name=name, dtype="float32", shape=shape) for name, shape in outputs]
    return HeadShapes([image, *others.pop("inputs", [])], specs, classes, size, **others)


@pytest.mark.parametrize(
    ("head", "preset"),
    [
        (shapes(("o", [1, 84, 8400]), classes=80), "yolov8"),
        (shapes(("o", ["b", 84, "anchors"]), classes=80, size=None), "yolov8"),
        (shapes(("o", [1, 8400, 84]), classes=80), "yolov8"),
        (shapes(("o", [1, 5, 2100]), classes=1, size=(320, 320)), "yolov8"),
        (shapes(("o", [1, 84, 34000]), classes=80), "yolov8"),
        (shapes(("o", [1, 116, 8400]), ("p", [1, 32, 160, 160]), classes=80), "yolov8-seg"),
        (shapes(("o", [1, 56, 8400]), classes=1, keypoint_shape=(17, 3)), "yolov8-pose"),
        (shapes(("o", [1, 300, 6])), "yolov10"),
        (shapes(("o", ["b", 300, 6]), classes=80), "yolov10"),
        (shapes(("o", [1, 300, 38]), ("p", [1, 32, 160, 160]), classes=80), "yolov8-seg"),
        (shapes(("o", [1, 300, 57]), classes=1, keypoint_shape=(17, 3)), "yolov8-pose"),
        (shapes(("o", [1, 25200, 85])), "yolov5"),
        (shapes(("o", [1, 25200, 85]), classes=80), "yolov5"),
        (shapes(("o", ["b", "anchors", 85]), classes=80, size=None), "yolov5"),
        (shapes(("logits", [1, 100, 92]), ("pred_boxes", [1, 100, 4]), classes=91), "detr"),
        (shapes(("logits", [1, 300, 80]), ("pred_boxes", [1, 300, 4]), classes=80), "rt-detr"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_heads_that_leave_no_doubt(head: HeadShapes, preset: str) -> None:
    assert certain_preset(head) == preset
    assert resolved(DetectionPreset(preset), head).is_resolved


@pytest.mark.parametrize(
    ("head", "fitting"),
    [
        (shapes(("o", [1, 84, 8400])), {"yolov8", "yolo11"}),
        (shapes(("o", [1, 8400, 85]), classes=80), {"yolox"}),
        (shapes(("o", [1, 56, 8400]), classes=1), {"yolov8-pose"}),
        (shapes(("boxes", [1, 8400, 4]), ("scores", [1, 8400, 80]), classes=80), {"yolo-nas"}),
        (shapes(("boxes", [1, 8732, 4]), ("scores", [1, 8732, 21]), classes=20, size=(300, 300)), {"ssd"}),
        (shapes(("o", [1, 85, 22, 22]), classes=80, size=(352, 352)), {"fastestdet"}),
        (shapes(("logits", [1, 100, 92]), ("pred_boxes", [1, 100, 4])), {"detr", "rt-detr"}),
        (shapes(("o", [1, 84, 8400]), classes=3), set()),
        (shapes(("o", [1, 1000]), classes=1000), set()),
        (shapes(("o", [1, 85, 7]), classes=80), set()),
    ],
)
def test_heads_in_doubt_are_left_undecided(head: HeadShapes, fitting: set[str]) -> None:
    assert certain_preset(head) is None
    assert fitting <= set(fitting_presets(head))
    if not fitting:
        assert fitting_presets(head) == []
    assert all(name in advice(head) for name in fitting)


def test_four_classes_are_not_taken_for_boxes() -> None:
    named = shapes(("cls", [1, 8400, 4]), ("bbox", [1, 8400, 4]), classes=4)
    assert resolved(DetectionPreset.YOLO_NAS, named).boxes == "bbox"
    unnamed = shapes(("a", [1, 8400, 4]), ("b", [1, 8400, 4]), classes=4)
    assert "yolo-nas" not in fitting_presets(unnamed)
    said = shapes(("a", [1, 8400, 4]), ("b", [1, 8400, 4]), classes=4, said={"boxes": "b"})
    assert resolved(DetectionPreset.YOLO_NAS, said).scores == "a"


def test_masks_and_key_points_of_selected_boxes_stand_behind_the_class() -> None:
    masks = resolved(DetectionPreset.YOLOV8_SEG, shapes(("o", [1, 300, 38]), ("p", [1, 32, 160, 160]))).masks
    assert masks is not None
    assert (masks.offset, masks.count) == (6, 32)
    said = {"keypoints": {"offset": 6, "count": 5, "values": 2}}
    points = resolved(DetectionPreset.YOLOV8_POSE, shapes(("o", [1, 300, 16]), said=said)).keypoints
    assert points is not None
    assert (points.offset, points.count) == (6, 5)


def test_fastestdet_is_described_as_it_was_by_hand() -> None:
    head = shapes(("758", [1, 85, 22, 22]), classes=80, size=(352, 352))
    by_hand = fastestdet.DECODING.model_copy(update={"preset": DetectionPreset.FASTESTDET})
    assert resolved(DetectionPreset.FASTESTDET, head) == by_hand


def test_a_model_without_an_input_for_images_has_no_preset() -> None:
    head = HeadShapes([TensorSpec(name="x", dtype="float32", shape=[1, 9])], shapes(("o", [1, 300, 6])).outputs)
    assert certain_preset(head) is None
    assert fitting_presets(head) == []


def test_every_preset_is_in_the_table() -> None:
    assert set(PRESETS) == set(DetectionPreset)


@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"bins": 16}, "bins", "for box_format distances"),
        ({"box_format": "distances"}, "box_format", "grid head"),
        ({"strides": [8]}, "strides", "grid head"),
        ({"anchors": [[0.1] * 4]}, "anchors", "neither anchors"),
        ({"scores": "nothing"}, "scores", "no output 'nothing'"),
        ({"head": "anchors"}, "head", "needs anchors"),
        ({"peak_window": 3}, "peak_window", "grid head"),
    ],
)
def test_overrides_that_contradict_a_preset_are_named(said: dict[str, Any], field: str, words: str) -> None:
    head = shapes(("o", [1, 84, 8400]), classes=80, said=said)
    with pytest.raises(FaceterError, match=words) as caught:
        resolved(DetectionPreset.YOLOV8, head)
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert f"metadata.detection.{field}" in [error.field for error in caught.value.errors]


def test_contradicting_anchors_are_named() -> None:
    outputs: list[tuple[str, Shape]] = [("cls", [1, 100, 4]), ("box", [1, 100, 4])]
    for preset in (DetectionPreset.SSD, DetectionPreset.RETINANET):
        with pytest.raises(FaceterError) as caught:
            resolved(preset, shapes(*outputs, classes=3, said={"anchor_grid": {"strides": [8]}}))
        assert caught.value.kind is ProblemKind.METADATA_MISMATCH


def test_overrides_take_precedence() -> None:
    head = shapes(("o", [1, 84, 8400]), classes=80, said={"box_format": "corners", "iou_threshold": 0.3})
    decoding = resolved(DetectionPreset.YOLO11, head)
    assert decoding.preset == "yolo11"
    assert decoding.box_format == "corners"
    assert decoding.iou_threshold == 0.3
    assert decoding.score_threshold == 0.25
    assert DetectionDecoding.model_validate(decoding.model_dump()) == decoding

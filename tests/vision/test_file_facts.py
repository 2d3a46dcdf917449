import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.models import Task
from faceter.vision.file_facts import FileFacts, file_facts

ULTRALYTICS = {
    "description": "Ultralytics YOLOv8n model trained on coco.yaml",
    "author": "Ultralytics",
    "task": "detect",
    "stride": "32",
    "batch": "1",
    "imgsz": "[480, 640]",
    "names": "{0: 'person', 1: \"driver's van\", 2: 'a\\'b, c'}",
}


def ultralytics(**changes: str) -> FileFacts:
    return file_facts({**ULTRALYTICS, **changes})


def test_ultralytics() -> None:
    facts = ultralytics()
    assert facts.task is Task.OBJECT_DETECTION
    assert facts.labels == ["person", "driver's van", "a'b, c"]
    assert facts.size == [480, 640]
    assert facts.preset == "yolov8"
    assert facts.preprocessing == {"preset": "yolo-letterbox"}
    assert facts.warnings == []


@pytest.mark.parametrize(
    ("changes", "preset"),
    [
        ({"description": "Ultralytics YOLO11n model"}, "yolo11"),
        ({"description": "Ultralytics YOLOv10s model"}, "yolov10"),
        ({"description": "Ultralytics YOLOv5nu model"}, "yolov8"),
        ({"description": "Ultralytics rtdetr-l model"}, "rt-detr"),
        ({"task": "segment"}, "yolov8-seg"),
        ({"task": "pose", "kpt_shape": "[17, 3]"}, "yolov8-pose"),
        ({"task": "classify"}, None),
        ({"task": "obb"}, None),
    ],
)
def test_heads_of_ultralytics(changes: dict[str, str], preset: str | None) -> None:
    assert ultralytics(**changes).preset == preset


def test_classifiers_and_other_tasks_of_ultralytics() -> None:
    facts = ultralytics(task="classify", imgsz="224")
    assert facts.task is Task.IMAGE_CLASSIFICATION
    assert facts.size == [224, 224]
    assert facts.preprocessing is not None
    assert facts.preprocessing["resize"] == "crop"
    rotated = ultralytics(task="obb")
    assert rotated.task is None
    assert "rotated boxes" in rotated.warnings[0]
    assert ultralytics(task="pose", kpt_shape="(5, 2)").keypoint_shape == (5, 2)
    assert ultralytics(channels="1").preprocessing == {"preset": "yolo-letterbox", "channel_order": "gray"}


def test_yolov5_of_its_repository() -> None:
    facts = file_facts({"stride": "32", "names": "['cat', 'dog']"})
    assert facts.labels == ["cat", "dog"]
    assert facts.task is None
    assert facts.preprocessing == {"preset": "yolo-letterbox"}


@pytest.mark.parametrize(
    ("order", "values", "expected"),
    [
        ("Bgr8", "NominalRange_0_255", {"channel_order": "bgr", "scale": 1.0}),
        ("Rgb8", "Normalized_0_1", {"channel_order": "rgb", "scale": 1 / 255}),
        ("Gray8", "Normalized_1_1", {"channel_order": "gray", "scale": 1 / 127.5, "mean": [1.0], "std": [1.0]}),
        ("Rgba8", "Normalized_0_1", None),
        ("Rgb8", "NominalRange_16_235", None),
    ],
)
def test_images_as_onnx_describes_them(order: str, values: str, expected: dict[str, Any] | None) -> None:
    facts = file_facts({"Image.BitmapPixelFormat": order, "Image.NominalPixelRange": values})
    assert facts.preprocessing == expected


@pytest.mark.parametrize(
    "properties",
    [
        {"classes": "cat,dog,emu"},
        {"labels": '["cat", "dog", "emu"]'},
        {"id2label": '{"0": "cat", "1": "dog", "2": "emu"}'},
        {"class_names": "cat\ndog\nemu"},
        {"names": "('cat', 'dog', 'emu')"},
        {"com.apple.coreml.model.preview.params": json.dumps({"labels": ["cat", "dog", "emu"], "colors": []})},
    ],
)
def test_labels_under_usual_names(properties: dict[str, str]) -> None:
    facts = file_facts(properties)
    assert facts.labels == ["cat", "dog", "emu"]
    assert facts.task is None


@pytest.mark.parametrize(
    "names",
    [
        "{1: 'a', 2: 'b'}",
        "{0: 'a', 1: 'a'}",
        "{0: ['a']}",
        "{0: __import__('os')}",
        "{0: 'a' + 'b'}",
        "{0: 'a\\x00b'}",
        "{'x': 'y'}",
        "[" * 10_000,
        "{0: " * 10_000,
        "'" * 1_000_000,
        "9" * 300_000,
        "{0: ''}",
        "{0: '" + "a" * 300 + "'}",
        "",
    ],
)
def test_damaged_names_are_left_out(names: str) -> None:
    facts = ultralytics(names=names)
    assert facts.labels is None
    assert any("names" in warning for warning in facts.warnings)


@pytest.mark.parametrize("size", ["[0, 640]", "[640, 99999]", "[640.5, 640]", "[1, 2, 3]", "big"])
def test_damaged_sizes_are_left_out(size: str) -> None:
    facts = ultralytics(imgsz=size)
    assert facts.size is None
    assert any("imgsz" in warning for warning in facts.warnings)


@given(st.dictionaries(st.sampled_from([*ULTRALYTICS, "labels", "kpt_shape"]), st.text(max_size=40)))
def test_any_text_is_read_without_an_error(properties: dict[str, str]) -> None:
    facts = file_facts({**ULTRALYTICS, **properties})
    assert facts.labels is None or len(set(facts.labels)) == len(facts.labels)

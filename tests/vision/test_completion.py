"""Metadata completed from the file and its graph; what the upload says counts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import MetadataSource, Task
from faceter.vision.completion import CompletedMetadata
from tests.detector_graphs import detector
from tests.engines import graphs
from tests.vision.presets.serving import completed

ULTRALYTICS = {"author": "Ultralytics", "description": "Ultralytics YOLOv8n model", "imgsz": "[64, 64]"}
CELLS = 8 * 8 + 4 * 4 + 2 * 2


def file(outputs: Mapping[str, Any] | None = None, **properties: str) -> onnx.ModelProto:
    values = outputs or {"output0": np.zeros((1, 4 + 2, CELLS), np.float32)}
    return detector(values, properties={**ULTRALYTICS, "names": "{0: 'cat', 1: 'dog'}", **properties})


def classifier(**properties: str) -> onnx.ModelProto:
    model = onnx.load_from_string(graphs.classifier())
    for key, value in properties.items():
        model.metadata_props.add(key=key, value=value)
    return model


def sources(result: CompletedMetadata) -> dict[str, str]:
    return {name: str(source) for name, source in result.sources.items()}


def test_a_file_that_says_nothing_stays_as_it_is() -> None:
    result = completed(classifier(), {})
    assert result.metadata.task is Task.OTHER
    assert result.sources == {}
    assert result.warnings == []


def test_what_is_said_is_listed_as_said() -> None:
    result = completed(
        classifier(), {"task": "image_classification", "labels": ["a", "b", "c"], "preprocessing": {"size": [8, 8]}}
    )
    assert sources(result) == {
        "task": "said",
        "labels": "said",
        "preprocessing": "said",
        "preprocessing.input": "inferred",
        "preprocessing.layout": "inferred",
    }


def test_a_detector_of_ultralytics() -> None:
    result = completed(file(task="detect"), {})
    assert result.metadata.task is Task.OBJECT_DETECTION
    assert result.metadata.labels == ["cat", "dog"]
    assert result.metadata.detection is not None
    assert result.metadata.preprocessing is not None
    assert result.metadata.preprocessing.input == "images"
    assert sources(result) == {
        "task": "file",
        "labels": "file",
        "preprocessing": "file",
        "preprocessing.input": "inferred",
        "preprocessing.layout": "inferred",
        "detection": "inferred",
    }


def test_a_classifier_of_ultralytics() -> None:
    model = classifier(**ULTRALYTICS, task="classify", names="{0: 'cat', 1: 'dog', 2: 'emu'}")
    result = completed(model, {})
    assert result.metadata.task is Task.IMAGE_CLASSIFICATION
    assert result.metadata.labels == ["cat", "dog", "emu"]
    preprocessing = result.metadata.preprocessing
    assert preprocessing is not None
    assert preprocessing.size == [8, 8]
    assert preprocessing.resize == "crop"
    assert result.sources["preprocessing.size"] is MetadataSource.INFERRED
    assert any("[64, 64]" in warning for warning in result.warnings)


def test_an_export_of_the_yolov5_repository() -> None:
    outputs = {"output0": np.zeros((1, 3 * CELLS, 5 + 2), np.float32)}
    result = completed(detector(outputs, properties={"stride": "32", "names": "{0: 'cat', 1: 'dog'}"}), {})
    assert result.metadata.task is Task.OBJECT_DETECTION
    assert result.sources["task"] is MetadataSource.INFERRED
    assert result.metadata.detection is not None
    assert result.metadata.detection.preset == "yolov5"
    other = completed(
        detector({"y": np.zeros((1, 9))}, properties={"stride": "32", "names": "{0: 'cat', 1: 'dog'}"}), {}
    )
    assert other.metadata.task is Task.OTHER
    assert other.metadata.preprocessing is None


def test_pixels_as_onnx_describes_them() -> None:
    model = classifier(**{"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"})
    preprocessing = completed(model, {}).metadata.preprocessing
    assert preprocessing is not None
    assert preprocessing.channel_order == "bgr"
    assert preprocessing.scale == 1
    assert preprocessing.size == [8, 8]
    said = completed(model, {"preprocessing": {"size": [8, 8], "scale": 0.5}})
    assert said.metadata.preprocessing is not None
    assert said.metadata.preprocessing.channel_order == "bgr"
    assert said.metadata.preprocessing.scale == 0.5
    assert said.sources["preprocessing"] is MetadataSource.SAID
    assert said.sources["preprocessing.channel_order"] is MetadataSource.FILE


def test_labels_that_do_not_fit_are_left_out() -> None:
    result = completed(classifier(labels="cat,dog"), {"task": "image_classification"})
    assert result.metadata.labels is None
    assert "labels" in result.warnings[0]
    fitting = completed(classifier(labels="cat,dog,emu"), {"task": "image_classification"})
    assert fitting.metadata.labels == ["cat", "dog", "emu"]
    assert fitting.sources["labels"] is MetadataSource.FILE


def test_labels_of_a_file_are_not_taken_for_another_task() -> None:
    assert completed(classifier(labels="cat,dog,emu"), {}).metadata.labels is None


def test_names_that_the_outputs_do_not_have_are_left_out() -> None:
    result = completed(file(task="detect", names="{0: 'cat'}"), {})
    assert result.metadata.labels is None
    assert result.metadata.detection is not None
    assert result.metadata.detection.class_count == 2
    assert any("1 classes" in warning for warning in result.warnings)


def test_a_file_for_another_task_than_said_is_not_used() -> None:
    result = completed(file(task="detect"), {"task": "other"})
    assert result.metadata.task is Task.OTHER
    assert result.metadata.detection is None
    assert result.metadata.labels is None
    assert "upload other" in result.warnings[0]


def test_a_preset_makes_a_detector() -> None:
    model = detector({"y": np.zeros((1, 6, CELLS), np.float32)})
    result = completed(model, {"detection": {"preset": "yolov8"}, "labels": ["a", "b"]})
    assert result.metadata.task is Task.OBJECT_DETECTION
    assert result.sources["task"] is MetadataSource.INFERRED
    assert result.sources["detection"] is MetadataSource.SAID
    with pytest.raises(FaceterError) as caught:
        completed(model, {"task": "other", "detection": {"preset": "yolov8"}, "labels": ["a", "b"]})
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH


def test_labels_that_are_said_must_fit_the_outputs() -> None:
    with pytest.raises(FaceterError) as caught:
        completed(file(task="detect"), {"labels": ["a", "b", "c"], "detection": {"preset": "yolov8"}})
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH


def test_a_model_without_an_input_for_images_is_served_all_the_same() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "g", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    for key, value in {**ULTRALYTICS, "task": "detect", "names": "{0: 'cat'}"}.items():
        model.metadata_props.add(key=key, value=value)
    result = completed(model, {})
    assert result.metadata.preprocessing is None
    assert result.metadata.detection is None
    assert result.warnings


def recognizer(characters: str, classes: int = 5) -> onnx.ModelProto:
    values = {"softmax": np.zeros((1, 7, classes), np.float32)}
    return detector(values, size=(48, "width"), properties={"character": characters})


def test_a_recognizer_of_paddle() -> None:
    result = completed(recognizer("a\nb\n\u3000"), {})
    assert result.metadata.task is Task.TEXT_RECOGNITION
    assert result.metadata.labels == ["a", "b", "\u3000", " "]
    assert result.metadata.preprocessing is not None
    assert result.metadata.preprocessing.size == [48, 320]
    assert result.metadata.preprocessing.channel_order == "bgr"
    assert sources(result) == {
        "task": "file",
        "labels": "file",
        "preprocessing": "inferred",
        "preprocessing.input": "inferred",
        "preprocessing.layout": "inferred",
    }
    assert result.size_by_file
    assert completed(recognizer("a\nb\nc\nd\n"), {}).metadata.labels == ["a", "b", "c", "d"]


def test_characters_that_are_not_those_of_the_output_are_ignored() -> None:
    result = completed(recognizer("a\nb"), {})
    assert result.metadata.task is Task.OTHER
    assert result.metadata.labels is None
    assert "character" in result.warnings[0]


def test_characters_must_be_as_many_as_classes_but_one() -> None:
    with pytest.raises(FaceterError, match="4 characters") as caught:
        completed(recognizer("", 4), {"task": "text_recognition", "labels": ["a", "b", "c", "d"]})
    assert [error.field for error in caught.value.errors] == ["metadata.labels"]
    with pytest.raises(FaceterError, match="steps"):
        completed(classifier(), {"task": "text_recognition"})


def test_a_file_completes_what_is_said_of_preprocessing() -> None:
    values = {"output0": np.zeros((1, 4 + 2, CELLS), np.float32)}
    properties = {**ULTRALYTICS, "task": "detect", "names": "{0: 'cat', 1: 'dog'}"}
    model = detector(values, size=("h", "w"), properties=properties, open_shapes={"output0": [1, 6, "anchors"]})
    preset = completed(model, {"preprocessing": {"preset": "imagenet-timm"}})
    assert preset.metadata.preprocessing is not None
    assert preset.metadata.preprocessing.preset == "imagenet-timm"
    assert preset.metadata.preprocessing.size == [64, 64]
    assert preset.sources["preprocessing.size"] is MetadataSource.FILE
    part = completed(model, {"preprocessing": {"size": [32, 32], "pad_value": 0}})
    assert part.metadata.preprocessing is not None
    assert part.metadata.preprocessing.resize == "pad"
    assert part.metadata.preprocessing.pad_value == 0
    assert part.sources["preprocessing.preset"] is MetadataSource.FILE


def test_the_size_of_an_input_with_channels_last() -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=0)]
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 20, 30, 3]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.metadata_props.add(key="Image.BitmapPixelFormat", value="Rgb8")
    model.metadata_props.add(key="Image.NominalPixelRange", value="Normalized_0_1")
    preprocessing = completed(model, {}).metadata.preprocessing
    assert preprocessing is not None
    assert preprocessing.size == [20, 30]
    assert preprocessing.layout == "channels_last"

"""Detectors as people have them: uploaded with a name and nothing else, they answer named boxes in image pixels."""

import io
import json
from functools import lru_cache
from typing import Any

import cv2
import httpx
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from faceter.contracts.errors import ProblemKind
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from tests.app.http.test_problems import problem
from tests.app.uploads import add_model, post_model
from tests.coco_masks import mask_pixels
from tests.detector_graphs import detector
from tests.references.boxes import suppress
from tests.ultralytics_export import COCO_NAMES, ultralytics_yolov8

SIZE = (320, 320)
Pixels = NDArray[np.uint8]


@lru_cache(maxsize=8)
def content(network: str = "detect", open_size: bool = True, **properties: str) -> bytes:
    model = ultralytics_yolov8(open_size, task=network, size=SIZE, properties=properties)
    return bytes(model.SerializeToString())


def drawn() -> Pixels:
    """Return an image of rectangles, wider than high."""
    generator = np.random.default_rng(5)
    page = Image.new("RGB", (300, 180), (190, 210, 230))
    for _ in range(14):
        x, y, width, height = (int(value) for value in generator.integers((0, 0, 20, 20), (260, 150, 120, 90)))
        colour = tuple(int(value) for value in generator.integers(0, 256, 3))
        ImageDraw.Draw(page).rectangle((x, y, x + width, y + height), fill=colour)
    return np.asarray(page)


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def letterboxed(pixels: Pixels) -> tuple[NDArray[np.float32], float, tuple[int, int]]:
    """Return an input, the scale and the left top corner, as ``LetterBox`` of Ultralytics does it."""
    height, width = pixels.shape[:2]
    scale = min(SIZE[0] / height, SIZE[1] / width)
    across, down = round(width * scale), round(height * scale)
    left, top = round((SIZE[1] - across) / 2 - 0.1), round((SIZE[0] - down) / 2 - 0.1)
    resized = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_LINEAR)
    page = np.full((*SIZE, 3), 114, np.uint8)
    page[top : top + down, left : left + across] = resized
    return (page.transpose(2, 0, 1)[None] / 255).astype(np.float32), scale, (left, top)


def expected_boxes(outputs: dict[str, Any], classes: int, scale: float, corner: tuple[int, int]) -> list[Any]:
    """Return (score, class, box in image pixels, rest of the row) by hand: threshold 0.25, suppression at 0.7."""
    rows = outputs["output0"][0].T
    best = rows[:, 4 : 4 + classes].argmax(axis=1)
    scores = rows[np.arange(len(rows)), 4 + best]
    order = [int(index) for index in np.argsort(-scores, kind="stable") if scores[index] >= 0.25]
    boxes = []
    for index in order:
        x, y, width, height = rows[index, :4].tolist()
        boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    kept = suppress(
        boxes, [float(scores[i]) for i in order], [int(best[i]) for i in order], 0.7, limit=300, class_agnostic=False
    )
    left, top = corner
    result = []
    for place in kept:
        index = order[place]
        box = (np.array(boxes[place]) - [left, top, left, top]) / scale
        box = np.clip(box, 0, [300, 180, 300, 180])
        result.append((float(scores[index]), int(best[index]), box, rows[index, 4 + classes :]))
    return result


def raw_outputs(file: bytes, inputs: NDArray[np.float32]) -> dict[str, Any]:
    return OnnxRuntimeEngine().load(file, threads=1).run({"images": inputs})


def predicted(api: httpx.Client, file: bytes) -> list[dict[str, Any]]:
    model = add_model(api, file, metadata=None, name="street")
    answer = api.post(f"/v1/models/{model['id']}/predict", files={"file": ("a.png", png(drawn()))})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["detections"]
    return list(found)


@pytest.mark.parametrize("open_size", [True, False])
def test_an_ultralytics_export_with_a_name_and_nothing_else(api: httpx.Client, open_size: bool) -> None:
    file = content(open_size=open_size)
    model = add_model(api, file, metadata=None, name="street")
    assert model["metadata"]["task"] == "object_detection"
    assert model["metadata"]["labels"] == list(COCO_NAMES)
    assert model["metadata"]["preprocessing"]["size"] == list(SIZE)
    assert model["metadata"]["preprocessing"]["preset"] == "yolo-letterbox"
    assert model["metadata"]["detection"]["preset"] == "yolov8"
    assert model["metadata"]["detection"]["boxes"] == "output0"
    sources = {name: model["metadata_sources"][name] for name in ("task", "labels", "preprocessing", "detection")}
    assert sources == {"task": "file", "labels": "file", "preprocessing": "file", "detection": "inferred"}
    assert model["warnings"] == []

    inputs, scale, corner = letterboxed(drawn())
    expected = expected_boxes(raw_outputs(file, inputs), len(COCO_NAMES), scale, corner)
    found = predicted(api, file)
    assert len(expected) > 3
    assert [box["label"] for box in found] == [COCO_NAMES[number] for _, number, _, _ in expected]
    np.testing.assert_allclose([box["score"] for box in found], [score for score, *_ in expected], atol=2e-3)
    np.testing.assert_allclose([box["box"] for box in found], [box for _, _, box, _ in expected], atol=0.5)
    assert all("mask" not in box and "keypoints" not in box for box in found)


def test_masks_of_a_segmentation_export(api: httpx.Client) -> None:
    file = content("segment")
    inputs, scale, (left, top) = letterboxed(drawn())
    outputs = raw_outputs(file, inputs)
    expected = expected_boxes(outputs, len(COCO_NAMES), scale, (left, top))
    found = predicted(api, file)
    assert len(found) == len(expected) > 3
    areas = []
    for answer, (_, _, box, coefficients) in zip(found, expected, strict=True):
        mask = mask_pixels(answer["mask"])
        assert mask.shape == (180, 300)
        areas.append(mask.sum())
        ys, xs = np.nonzero(mask)
        assert not len(xs) or (xs.min() >= box[0] - 1 and xs.max() <= box[2] and ys.min() >= box[1] - 1)
        # As Ultralytics: sums of the prototypes, enlarged to the input, without the margin, and to the image.
        sums = np.tensordot(coefficients, outputs["output1"][0], axes=1).astype(np.float32)
        whole = cv2.resize(sums, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
        inner = whole[top : SIZE[0] - top, left : SIZE[1] - left]
        image = cv2.resize(inner, (300, 180), interpolation=cv2.INTER_LINEAR) > 0
        inside = np.zeros_like(image)
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        inside[y0:y1, x0:x1] = image[y0:y1, x0:x1]
        differing = int((inside != (mask > 0)).sum())
        border = 4 * (x1 - x0 + y1 - y0)
        assert differing <= max(border, 0.06 * inside.size), (differing, inside.sum())
    assert max(areas) > 100


def test_key_points_of_a_pose_export(api: httpx.Client) -> None:
    file = content("pose")
    inputs, scale, (left, top) = letterboxed(drawn())
    expected = expected_boxes(raw_outputs(file, inputs), 1, scale, (left, top))
    found = predicted(api, file)
    assert len(found) == len(expected) > 0
    for answer, (_, _, _, values) in zip(found, expected, strict=True):
        points = values.reshape(17, 3)
        points[:, :2] = np.clip((points[:, :2] - [left, top]) / scale, 0, [300, 180])
        np.testing.assert_allclose(answer["keypoints"], points, atol=0.6)
    assert {answer["label"] for answer in found} == {"person"}


def test_boxes_of_a_tensor_are_in_its_pixels(api: httpx.Client) -> None:
    file = content()
    model = add_model(api, file, metadata=None)
    inputs = np.random.default_rng(0).random((1, 3, 64, 96), np.float32)
    answer = api.post(f"/v1/models/{model['id']}/predict", json={"inputs": {"images": inputs.tolist()}})
    assert answer.status_code == 200
    rows = raw_outputs(file, inputs)["output0"]
    assert rows.shape[2] == 8 * 12 + 4 * 6 + 2 * 3


def test_what_the_upload_says_counts(api: httpx.Client) -> None:
    labels = [f"thing {number}" for number in range(80)]
    metadata = {
        "task": "object_detection",
        "labels": labels,
        "detection": {"preset": "yolo11", "score_threshold": 0.6},
        "preprocessing": {"size": [160, 160]},
    }
    model = add_model(api, content(), metadata=metadata)
    assert model["metadata"]["labels"] == labels
    assert model["metadata"]["detection"]["preset"] == "yolo11"
    assert model["metadata"]["detection"]["score_threshold"] == 0.6
    assert model["metadata"]["detection"]["iou_threshold"] == 0.7
    assert model["metadata"]["preprocessing"]["size"] == [160, 160]
    assert model["metadata"]["preprocessing"]["resize"] == "pad"
    assert {model["metadata_sources"][name] for name in ("task", "labels", "detection", "preprocessing")} == {"said"}
    assert any("labels" in warning for warning in model["warnings"])


def test_another_task_than_the_files_is_taken_and_noted(api: httpx.Client) -> None:
    model = add_model(api, content(), metadata={"task": "other"})
    assert model["metadata"]["task"] == "other"
    assert model["metadata"]["detection"] is None
    assert any("task" in warning for warning in model["warnings"])


def test_the_stored_description_can_be_uploaded_again(api: httpx.Client) -> None:
    first = add_model(api, content(), metadata=None)
    second = add_model(api, content(), metadata=first["metadata"])
    assert second["metadata"] == first["metadata"]


def test_an_override_that_contradicts_the_preset_is_refused(api: httpx.Client) -> None:
    for field, value in (("bins", 16), ("strides", [8]), ("boxes", "nothing"), ("class_count", 90)):
        metadata = {"task": "object_detection", "detection": {"preset": "yolov8", field: value}}
        document = problem(post_model(api, content(), metadata=metadata), ProblemKind.METADATA_MISMATCH)
        assert f"metadata.detection.{field}" in [error.field for error in document.errors], document


def test_a_preset_of_other_outputs_is_refused_with_those_that_fit(api: httpx.Client) -> None:
    metadata = {"task": "object_detection", "detection": {"preset": "ssd"}}
    document = problem(post_model(api, content(), metadata=metadata), ProblemKind.METADATA_MISMATCH)
    assert [error.field for error in document.errors] == ["metadata.detection.preset"]
    assert "yolov8" in document.detail


HOSTILE = {
    "names that are no dictionary": {"names": "{0: __import__('os').system('true')}"},
    "too few names": {"names": "{0: 'person'}"},
    "a name twice": {"names": str(dict.fromkeys(range(80), "person"))},
    "a deep list": {"names": "[" * 100_000},
    "an endless text": {"names": "'" * 1_000_000},
    "a size that no image has": {"imgsz": "[99999999, 0]"},
    "a size that is not a multiple of 32": {"imgsz": "[33, 47]"},
    "a huge size": {"imgsz": "[16384, 16384]"},
    "an unknown task": {"task": "x" * 10_000},
    "another task": {"task": "classify"},
    "a task of other outputs": {"task": "segment"},
    "key points that are not there": {"task": "pose", "kpt_shape": "[5000, 3]"},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_a_file_says_wrongly_never_fails_an_upload(api: httpx.Client, case: str) -> None:
    properties = {entry.key: entry.value for entry in onnx.load_from_string(content()).metadata_props} | HOSTILE[case]
    cheap = detector({"output0": np.zeros((1, 84, 2100), np.float32)}, size=("h", "w"), properties=properties)
    file = content(**HOSTILE[case]) if "size" in case else cheap.SerializeToString()
    response = post_model(api, file, metadata=None)
    assert response.status_code == 201, response.text
    assert response.json()["warnings"], case


def test_damaged_properties_are_ignored_with_a_note(api: httpx.Client) -> None:
    twice, not_text = b"\x72\x0c\x0a\x04task\x12\x04pose", b"\x72\x08\x0a\x02ab\x12\x02\xff\xfe"
    model = add_model(api, content() + twice[:0] + not_text, metadata=None)
    assert model["metadata"]["detection"]["preset"] == "yolov8"
    assert any("UTF-8" in warning for warning in model["warnings"])
    repeated = add_model(api, content() + b"\x72\x0e\x0a\x04task\x12\x06detect", metadata=None)
    assert any("again later" in warning for warning in repeated["warnings"])
    assert api.get(f"/v1/models/{repeated['id']}/graph").json()["properties"]["task"] == "detect"


def test_properties_are_shown_with_the_graph(api: httpx.Client) -> None:
    file = ultralytics_yolov8(size=SIZE)
    file.metadata_props.add(key="character", value="\n".join("abcdefghij" * 1_000))
    model = add_model(api, file.SerializeToString(), metadata=None)
    graph = api.get(f"/v1/models/{model['id']}/graph").json()
    assert graph["properties"]["author"] == "Ultralytics"
    assert graph["properties"]["imgsz"] == "[320, 320]"
    assert len(graph["properties"]["character"]) == 2_000
    assert graph["properties_cut"] == {"character": 19_999}
    assert graph["properties_left_out"] == 0
    assert graph["producer"].startswith("pytorch")


def test_a_detector_in_doubt_is_served_with_advice(api: httpx.Client) -> None:
    model = onnx.load_from_string(content(open_size=False))
    del model.metadata_props[:]
    stored = add_model(api, model.SerializeToString(), metadata={"task": "object_detection"})
    assert stored["metadata"]["detection"] is None
    (warning,) = [text for text in stored["warnings"] if "preset" in text]
    assert "yolov8" in warning
    refused = post_model(api, model.SerializeToString(), metadata=json.dumps({"detection": {"score_threshold": 0.5}}))
    document = problem(refused, ProblemKind.METADATA_MISMATCH)
    assert [error.field for error in document.errors] == ["metadata.detection.preset"]


def rt_detr(name: str, dtype: int) -> bytes:
    """Return an RT-DETR's end: boxes in fractions, times the size that is given beside the image."""
    corners = np.array([[[0.1, 0.2, 0.5, 0.6], [0.5, 0.5, 1.0, 0.9]]], np.float32)
    weights = {"corners": corners, "order": np.array([0, 1, 0, 1]), "zero": np.zeros((), np.float32)}
    weights |= {"found": np.array([[0.9, 0.8]], np.float32), "kinds": np.array([[1, 0]])}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["found", "nothing"], ["scores"]),
        helper.make_node("Cast", [name], ["sides"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["sides", "order"], ["four"], axis=1),
        helper.make_node("Mul", ["corners", "four"], ["boxes"]),
        helper.make_node("Identity", ["kinds"], ["labels"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "rt-detr",
        [info("images", TensorProto.FLOAT, [1, 3, 64, 96]), info(name, dtype, [1, 2])],
        [
            info("labels", TensorProto.INT64, [1, 2]),
            info("boxes", TensorProto.FLOAT, [1, 2, 4]),
            info("scores", TensorProto.FLOAT, [1, 2]),
        ],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_a_model_that_takes_the_size_of_the_image(api: httpx.Client) -> None:
    metadata: dict[str, Any] = {
        "task": "object_detection",
        "labels": ["cat", "dog"],
        "preprocessing": {"size": [64, 96]},
    }
    file = rt_detr("orig_target_sizes", TensorProto.INT64)
    model = add_model(api, file, metadata=metadata)
    assert model["metadata"]["detection"]["preset"] == "rt-detr"
    assert model["metadata"]["detection"]["size_inputs"] == {"orig_target_sizes": "width_height"}
    answer = api.post(f"/v1/models/{model['id']}/predict", files={"file": ("a.png", png(drawn()))})
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["detections"]
    assert [box["label"] for box in found] == ["dog", "cat"]
    np.testing.assert_allclose(found[0]["box"], [30, 36, 150, 108], rtol=1e-5)

    other = rt_detr("other", TensorProto.INT64)
    unknown = {**metadata, "detection": {"preset": "rt-detr", "size_inputs": {"orig_target_sizes": "width_height"}}}
    document = problem(post_model(api, other, metadata=unknown), ProblemKind.METADATA_MISMATCH)
    assert [error.field for error in document.errors] == ["metadata.detection.size_inputs"]
    stored = add_model(api, other, metadata={**metadata, "detection": {"preset": "rt-detr"}})
    refused = api.post(f"/v1/models/{stored['id']}/predict", files={"file": ("a.png", png(drawn()))})
    assert "several inputs" in problem(refused, ProblemKind.INVALID_INPUT).detail


def test_the_text_in_an_image(api: httpx.Client) -> None:
    steps = [0, 1, 1, 2, 0, 2]
    scores = np.full((1, len(steps), 4), 0.05, np.float32)
    scores[0, range(len(steps)), steps] = 0.85
    model = detector({"softmax": scores}, size=(48, 64), properties={"character": "h\ni"})
    stored = add_model(api, model.SerializeToString(), metadata=None)
    assert stored["metadata"]["task"] == "text_recognition"
    assert stored["metadata"]["labels"] == ["h", "i", " "]
    answer = api.post(f"/v1/models/{stored['id']}/predict", files={"file": ("a.png", png(drawn()))})
    assert answer.status_code == 200, answer.text
    (text,) = answer.json()["texts"]
    assert text["text"] == "hii"
    assert text["score"] == pytest.approx(0.85)
    assert "outputs" not in answer.json()

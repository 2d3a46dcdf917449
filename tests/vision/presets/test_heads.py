"""Each preset decodes a head built to the layout of the usual exports as a slow reference does."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faceter.vision.detection import decode
from tests.detector_graphs import detector
from tests.references import detection as heads
from tests.references import detection_heads as more
from tests.vision.presets.serving import assert_found, boxes_of, decoding_of

SIZE = (64, 96)
CELLS = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in (8, 16, 32))
CLASSES = 4
Values = NDArray[np.float32]


def normal(*shape: int, seed: int = 0) -> Values:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def candidates(count: int, classes: int, extra: int = 0) -> Values:
    """Return decoded candidates [count, 4 + classes + extra]: centre and size in pixels, rare high probabilities."""
    generator = np.random.default_rng(1)
    centers = generator.uniform(0, 1, (count, 2)) * [SIZE[1], SIZE[0]]
    sizes = generator.uniform(8, 30, (count, 2))
    scores = generator.uniform(0, 1, (count, classes)) ** 3
    return np.concatenate([centers, sizes, scores, generator.normal(size=(count, extra))], axis=1).astype(np.float32)


@pytest.mark.parametrize("preset", ["yolov8", "yolo11"])
@pytest.mark.parametrize("turned", [False, True])
def test_yolov8(preset: str, turned: bool) -> None:
    output = candidates(CELLS, CLASSES).T[None]
    model = detector({"output0": output.transpose(0, 2, 1) if turned else output}, size=SIZE)
    decoding = decoding_of(model, {"preset": preset}, CLASSES)
    assert decoding.layout == ("channels_last" if turned else "channels_first")
    assert_found(boxes_of(model, decoding, SIZE), heads.best(more.yolov8(output[0]), 0.25), decoding)


def test_yolov8_without_labels() -> None:
    output = candidates(CELLS, CLASSES).T[None]
    model = detector({"output0": output}, size=SIZE)
    decoding = decoding_of(model, {"preset": "yolov8"}, None)
    assert decoding.class_count == CLASSES
    assert_found(boxes_of(model, decoding, SIZE), heads.best(more.yolov8(output[0]), 0.25), decoding)


@pytest.mark.parametrize("preset", ["yolov10", "yolov8", "yolo11"])
def test_boxes_that_need_no_suppression(preset: str) -> None:
    generator = np.random.default_rng(2)
    corner = generator.uniform(0, 60, (300, 2))
    output = np.concatenate(
        [corner, corner + 20, np.sort(generator.random((300, 1)))[::-1], np.zeros((300, 1))], axis=1
    )
    output[:, 5] = generator.integers(0, CLASSES, 300)
    model = detector({"output0": output[None].astype(np.float32)}, size=SIZE)
    decoding = decoding_of(model, {"preset": preset}, CLASSES)
    expected = [(row[:4], float(row[4]), int(row[5])) for row in output if row[4] >= 0.25]
    assert decoding.iou_threshold == 1
    assert_found(boxes_of(model, decoding, SIZE), sorted(expected, key=lambda entry: -entry[1]), decoding)


def test_yolov5_decoded_in_the_graph() -> None:
    output = candidates(3 * CELLS, 1 + CLASSES)[None]
    output[..., 4] = np.sqrt(output[..., 4])
    model = detector({"output0": output}, size=SIZE)
    decoding = decoding_of(model, {"preset": "yolov5"}, CLASSES)
    assert_found(boxes_of(model, decoding, SIZE), heads.best(more.yolov5(output[0]), 0.25), decoding)


YOLOV5_ANCHORS: list[list[tuple[float, float]]] = [
    [(10, 13), (16, 30), (33, 23)],
    [(30, 61), (62, 45), (59, 119)],
    [(116, 90), (156, 198), (373, 326)],
]


@pytest.mark.parametrize("joined", [False, True])
def test_yolov5_with_raw_outputs(joined: bool) -> None:
    outputs, expected = {}, []
    for level, stride in enumerate((8, 16, 32)):
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        raw = normal(1, 3, rows, columns, 5 + CLASSES, seed=level)
        expected += heads.yolov5_raw(raw[0], SIZE, YOLOV5_ANCHORS[level])
        if joined:
            raw = raw.transpose(0, 1, 4, 2, 3).reshape(1, -1, rows, columns)
        outputs[f"out{level}"] = raw
    model = detector(dict(reversed(outputs.items())), size=SIZE)
    decoding = decoding_of(model, {"preset": "yolov5"}, CLASSES)
    assert decoding.box_outputs == ["out0", "out1", "out2"]
    assert_found(boxes_of(model, decoding, SIZE), heads.best(expected, 0.25), decoding)


def test_yolox_without_decoding_in_the_graph() -> None:
    output = normal(1, CELLS, 5 + CLASSES)
    output[..., 4:] = np.random.default_rng(1).uniform(0, 1, output[..., 4:].shape)
    model = detector({"output": output}, size=SIZE)
    decoding = decoding_of(model, {"preset": "yolox"}, CLASSES)
    assert decoding.strides == [8, 16, 32]
    assert_found(boxes_of(model, decoding, SIZE), heads.best(heads.yolox(output[0], SIZE, [8, 16, 32]), 0.25), decoding)


def test_yolox_with_an_output_for_each_stride() -> None:
    outputs, expected = {}, []
    for level, stride in enumerate((8, 16, 32)):
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        values = normal(rows * columns, 5 + CLASSES, seed=level)
        values[:, 4:] = np.random.default_rng(level).uniform(0, 1, values[:, 4:].shape)
        found = heads.yolox(values, (SIZE[0], SIZE[1]), [stride])
        expected += found
        outputs[f"map{level}"] = values.T.reshape(1, -1, rows, columns)
    model = detector(outputs, size=SIZE)
    decoding = decoding_of(model, {"preset": "yolox"}, CLASSES)
    assert_found(boxes_of(model, decoding, SIZE), heads.best(expected, 0.25), decoding)


@pytest.mark.parametrize("classes", [1, 3, 4])
def test_yolox_with_objectness_in_an_output_of_its_own(classes: int) -> None:
    outputs: dict[str, Values] = {}
    expected: list[heads.Candidate] = []
    for level, stride in enumerate((8, 16, 32)):
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        values = normal(rows * columns, 5 + classes, seed=level)
        maps = values.T.reshape(1, -1, rows, columns)
        outputs[f"cls_{level}"] = np.ascontiguousarray(maps[:, 5:])
        outputs[f"bbox_{level}"] = np.ascontiguousarray(maps[:, :4])
        outputs[f"obj_{level}"] = np.ascontiguousarray(maps[:, 4:5])
        values[:, 4:] = 1 / (1 + np.exp(-values[:, 4:]))
        expected += heads.yolox(values, SIZE, [stride])
    model = detector(outputs, size=SIZE, activations={f"obj_{level}": "Sigmoid" for level in range(3)})
    decoding = decoding_of(model, {"preset": "yolox"}, classes)
    assert decoding.objectness == ["obj_0", "obj_1", "obj_2"]
    assert decoding.objectness_activation == "none"
    assert decoding.class_activation == "sigmoid"
    assert_found(boxes_of(model, decoding, SIZE), heads.best(expected, 0.25), decoding)


def test_yolo_nas_with_two_outputs() -> None:
    values = candidates(CELLS, CLASSES)
    corners = np.concatenate([values[:, :2] - values[:, 2:4] / 2, values[:, :2] + values[:, 2:4] / 2], axis=1)
    model = detector({"boxes": corners[None], "scores": values[None, :, 4:]}, size=SIZE)
    decoding = decoding_of(model, {"preset": "yolo-nas"}, CLASSES)
    assert_found(boxes_of(model, decoding, SIZE), heads.best(more.yolov8(values.T), 0.25), decoding)


def test_yolo_nas_with_its_own_suppression() -> None:
    generator = np.random.default_rng(3)
    corner = generator.uniform(0, 40, (1, 50, 2))
    outputs = {
        "num_predictions": np.array([[7]]),
        "pred_boxes": np.concatenate([corner, corner + 20], axis=2).astype(np.float32),
        "pred_scores": np.linspace(0.9, 0.4, 50, dtype=np.float32)[None],
        "pred_classes": generator.integers(0, CLASSES, (1, 50)),
    }
    model = detector(outputs, size=SIZE)
    decoding = decoding_of(model, {"preset": "yolo-nas"}, CLASSES)
    found = boxes_of(model, decoding, SIZE)
    assert len(found) == 7
    np.testing.assert_allclose(found.boxes, outputs["pred_boxes"][0, :7])
    assert found.classes.tolist() == outputs["pred_classes"][0, :7].tolist()


def test_ssd_with_generated_anchors() -> None:
    anchors = more.ssd_anchors()
    assert len(anchors) == 8732
    boxes, scores = normal(1, 8732, 4), normal(1, 8732, 1 + CLASSES)
    scores[..., 0] += 6
    model = detector({"boxes": boxes, "scores": scores}, size=(300, 300))
    decoding = decoding_of(model, {"preset": "ssd"}, CLASSES)
    expected = more.every_label(heads.ssd(boxes[0], scores[0], (300, 300), anchors), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, (300, 300)), expected, decoding)


def test_ssd_whose_graph_has_the_softmax() -> None:
    boxes, scores = normal(1, 8732, 4), normal(1, 8732, 1 + CLASSES)
    model = detector({"boxes": boxes, "scores": scores}, size=(300, 300), activations={"scores": "Softmax"})
    assert decoding_of(model, {"preset": "ssd"}, CLASSES).class_activation == "none"


def test_ssdlite_is_told_by_its_number_of_anchors() -> None:
    model = detector({"boxes": normal(1, 3234, 4), "scores": normal(1, 3234, 1 + CLASSES)}, size=(320, 320))
    decoding = decoding_of(model, {"preset": "ssd"}, CLASSES)
    assert decoding.anchor_grid is not None
    assert decoding.anchor_grid.sizes[0] == [64, 112]


def test_ssd_of_tensorflow() -> None:
    generator = np.random.default_rng(4)
    corner = generator.uniform(0, 0.5, (1, 100, 2))
    outputs = {
        "detection_boxes:0": np.concatenate([corner, corner + 0.3], axis=2).astype(np.float32),
        "detection_classes:0": generator.integers(1, CLASSES + 1, (1, 100)).astype(np.float32),
        "detection_scores:0": np.linspace(0.99, 0.01, 100, dtype=np.float32)[None],
        "num_detections:0": np.array([20], np.float32),
    }
    model = detector(outputs, size=SIZE)
    decoding = decoding_of(model, {}, CLASSES)
    assert decoding.preset == "ssd"
    found = boxes_of(model, decoding, SIZE)
    top, left, bottom, right = (outputs["detection_boxes:0"][0, :20, column] for column in range(4))
    expected = np.stack([left * SIZE[1], top * SIZE[0], right * SIZE[1], bottom * SIZE[0]], axis=1)
    np.testing.assert_allclose(found.boxes, expected, rtol=1e-5)
    assert found.classes.tolist() == (outputs["detection_classes:0"][0, :20] - 1).tolist()


RETINANET_SIZE = (64, 64)


def retinanet_outputs() -> tuple[Values, Values]:
    count = len(more.retinanet_anchors(RETINANET_SIZE))
    return normal(1, count, 4) * np.float32(0.25), normal(1, count, CLASSES, seed=1) - 2


def test_retinanet_in_two_outputs() -> None:
    boxes, logits = retinanet_outputs()
    model = detector({"cls_logits": logits, "bbox_regression": boxes}, size=RETINANET_SIZE)
    decoding = decoding_of(model, {"preset": "retinanet"}, CLASSES)
    expected = more.every_label(more.retinanet(boxes[0], logits[0], RETINANET_SIZE), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, RETINANET_SIZE), expected, decoding)


def test_retinanet_with_outputs_for_each_stride() -> None:
    boxes, logits = retinanet_outputs()
    outputs: dict[str, Values] = {}
    start = 0
    for level, side in enumerate((8, 4, 2, 1, 1)):
        end = start + side * side * 9
        for name, values in (("cls", logits), ("box", boxes)):
            level_values = values[0, start:end].reshape(side, side, -1).transpose(2, 0, 1)[None]
            outputs[f"{name}_{level}"] = np.ascontiguousarray(level_values)
        start = end
    model = detector(outputs, size=RETINANET_SIZE, activations={f"cls_{level}": "Sigmoid" for level in range(5)})
    decoding = decoding_of(model, {"preset": "retinanet"}, CLASSES)
    assert decoding.class_activation == "none"
    expected = more.every_label(more.retinanet(boxes[0], logits[0], RETINANET_SIZE), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, RETINANET_SIZE), expected, decoding)


def test_retinanet_with_other_anchors() -> None:
    boxes, logits = normal(1, 64 * 2, 4), normal(1, 64 * 2, CLASSES)
    grid = {"strides": [8], "sizes": [[20, 30]], "ratios": [[1.0]], "offset": 0.5}
    model = detector({"cls_logits": logits, "bbox_regression": boxes}, size=RETINANET_SIZE)
    decoding = decoding_of(model, {"preset": "retinanet", "anchor_grid": grid}, CLASSES)
    assert decoding.anchor_grid is not None
    assert decoding.anchor_grid.sizes == [[20, 30]]
    assert len(boxes_of(model, decoding, RETINANET_SIZE))


def test_detr() -> None:
    logits, boxes = normal(1, 100, CLASSES + 1), np.random.default_rng(1).random((1, 100, 4), np.float32)
    model = detector({"logits": 3 * logits, "pred_boxes": boxes}, size=SIZE)
    decoding = decoding_of(model, {}, CLASSES)
    assert decoding.preset == "detr"
    expected = heads.best(more.queries(3 * logits[0], boxes[0], SIZE, no_object=True), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, SIZE), expected, decoding)


def test_rt_detr_of_transformers() -> None:
    logits, boxes = normal(1, 300, CLASSES) - 1, np.random.default_rng(1).random((1, 300, 4), np.float32)
    model = detector({"logits": logits, "pred_boxes": boxes}, size=SIZE)
    decoding = decoding_of(model, {}, CLASSES)
    assert decoding.preset == "rt-detr"
    expected = more.every_label(more.queries(logits[0], boxes[0], SIZE, no_object=False), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, SIZE), expected[:300], decoding)


def test_rt_detr_of_its_authors() -> None:
    corner = np.random.default_rng(1).uniform(0, 40, (1, 300, 2))
    outputs: dict[str, NDArray[Any]] = {
        "labels": np.random.default_rng(2).integers(0, CLASSES, (1, 300)),
        "boxes": np.concatenate([corner, corner + 15], axis=2).astype(np.float32),
        "scores": np.linspace(0.95, 0.01, 300, dtype=np.float32)[None],
    }
    model = detector(outputs, size=SIZE, inputs={"orig_target_sizes": (7, [1, 2])})
    decoding = decoding_of(model, {}, CLASSES)
    assert decoding.preset == "rt-detr"
    (found,) = decode(outputs, decoding, SIZE)
    count = int((outputs["scores"] >= decoding.score_threshold).sum())
    np.testing.assert_allclose(found.boxes, outputs["boxes"][0, :count])
    assert found.classes.tolist() == outputs["labels"][0, :count].tolist()


def test_centernet() -> None:
    stride, (rows, columns) = 4, (SIZE[0] // 4, SIZE[1] // 4)
    heat = normal(1, CLASSES, rows, columns)
    sizes = np.random.default_rng(1).uniform(1, 6, (1, 2, rows, columns)).astype(np.float32)
    offsets = np.random.default_rng(2).random((1, 2, rows, columns), np.float32)
    model = detector({"hm": heat, "wh": sizes, "reg": offsets}, size=SIZE)
    decoding = decoding_of(model, {"preset": "centernet", "score_threshold": 0.6}, CLASSES)
    expected = more.centernet(heat[0], sizes[0], offsets[0], stride, 0.6)
    assert_found(boxes_of(model, decoding, SIZE), expected, decoding)


def test_fastestdet() -> None:
    output = normal(1, 5 + CLASSES, 4, 6)
    output[:, 0], output[:, 5:] = 0.9, np.random.default_rng(1).random((1, CLASSES, 4, 6))
    model = detector({"758": output}, size=SIZE)
    decoding = decoding_of(model, {"preset": "fastestdet"}, CLASSES)
    expected = heads.best(heads.fastestdet(output[0], SIZE), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, SIZE), expected, decoding)


def dfl_maps(bins: int = 16) -> tuple[list[Values], list[heads.Candidate]]:
    """Return raw maps at strides 8, 16 and 32, boxes before classes, and what they stand for."""
    maps, expected = [], []
    for level, stride in enumerate((8, 16, 32)):
        values = 2 * normal(1, 4 * bins + CLASSES, SIZE[0] // stride, SIZE[1] // stride, seed=level)
        maps.append(values)
        expected += more.dfl(values[0], stride, bins)
    return maps, expected


@pytest.mark.parametrize("preset", ["dfl", "yolov8"])
def test_dfl_with_an_output_for_each_stride(preset: str) -> None:
    maps, expected = dfl_maps()
    model = detector({f"map{level}": values for level, values in enumerate(maps)}, size=SIZE)
    decoding = decoding_of(model, {"preset": preset}, CLASSES)
    assert decoding.bins == 16
    assert_found(boxes_of(model, decoding, SIZE), heads.best(expected, decoding.score_threshold), decoding)


def test_dfl_with_boxes_and_classes_apart() -> None:
    maps, expected = dfl_maps()
    outputs = {}
    for level, values in enumerate(maps):
        outputs[f"box{level}"] = np.ascontiguousarray(values[:, :64])
        outputs[f"class{level}"] = np.ascontiguousarray(values[:, 64:])
        outputs[f"sum{level}"] = np.ones_like(values[:, :1])
    model = detector(outputs, size=SIZE, activations={f"class{level}": "Sigmoid" for level in range(3)})
    decoding = decoding_of(model, {"preset": "dfl"}, CLASSES)
    assert decoding.class_activation == "none"
    assert_found(boxes_of(model, decoding, SIZE), heads.best(expected, decoding.score_threshold), decoding)


@pytest.mark.parametrize("last", [False, True])
def test_dfl_with_all_strides_in_one_output(last: bool) -> None:
    maps, expected = dfl_maps(bins=8)
    output = np.concatenate([values.reshape(1, values.shape[1], -1) for values in maps], axis=2)
    model = detector({"out": output.transpose(0, 2, 1) if last else output}, size=SIZE)
    decoding = decoding_of(model, {"preset": "dfl", "bins": 8}, CLASSES)
    assert_found(boxes_of(model, decoding, SIZE), heads.best(expected, decoding.score_threshold), decoding)


def test_objectness_in_an_output_of_its_own() -> None:
    values = candidates(CELLS, 1 + CLASSES)
    outputs = {"boxes": values[None, :, :4], "scores": values[None, :, 5:], "objectness": values[None, :, 4]}
    model = detector(outputs, size=SIZE)
    description = {
        "head": "direct",
        "boxes": "boxes",
        "scores": "scores",
        "objectness": "objectness",
        "layout": "channels_last",
        "box_units": "pixels",
    }
    decoding = decoding_of(model, description, CLASSES)
    expected = heads.best(more.yolov5(values), decoding.score_threshold)
    assert_found(boxes_of(model, decoding, SIZE), expected, decoding)

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import fastestdet
from faceter.contracts.detection import Activation, DetectionDecoding
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.boxes import Detections
from faceter.vision.detection import decode, decode_to_image_pixels, for_evaluation
from faceter.vision.preprocess import Placement
from tests.references import detection as reference
from tests.vision.presets.serving import assert_found

SIZE = (96, 128)
RNG = np.random.default_rng(4)
FASTESTDET = fastestdet.DECODING.model_copy(update={"boxes": "out"})
DIRECT = DetectionDecoding(
    head="direct",
    boxes="out",
    layout="channels_last",
    box_format="corners",
    box_units="pixels",
    class_offset=4,
    score_threshold=0.1,
)


def normal(*shape: int) -> NDArray[np.float32]:
    return RNG.normal(size=shape).astype(np.float32)


def assert_same(found: Detections, candidates: list[reference.Candidate], decoding: DetectionDecoding) -> None:
    """The boxes equal the reference: its candidates above the threshold after non-maximum suppression."""
    assert_found(found, reference.best(candidates, decoding.score_threshold), decoding)


def decode_one(outputs: Mapping[str, NDArray[Any]], decoding: DetectionDecoding) -> Detections:
    (found,) = decode(outputs, decoding, SIZE)
    assert found.boxes.dtype == np.float32
    assert found.scores.dtype == np.float32
    assert found.classes.dtype == np.int64
    return found


def test_fastestdet_grid() -> None:
    output = normal(1, 9, 6, 8)
    output[:, 0] = RNG.uniform(size=(1, 6, 8))
    output[:, 5:] = RNG.uniform(size=(1, 4, 6, 8))
    assert_same(decode_one({"out": output}, FASTESTDET), reference.fastestdet(output[0], SIZE), FASTESTDET)


def yolov3_decoding(anchors: list[tuple[float, float]], outputs: list[str], **changes: Any) -> DetectionDecoding:
    return DetectionDecoding(
        head="grid",
        boxes=outputs,
        anchors_per_cell=3,
        objectness_offset=4,
        class_offset=5,
        center_activation=Activation.SIGMOID,
        size_activation=Activation.EXP,
        size_unit="anchor",
        anchors=[[width / SIZE[1], height / SIZE[0]] for width, height in anchors],
        objectness_activation=Activation.SIGMOID,
        class_activation=Activation.SIGMOID,
        **changes,
    )


ANCHORS: list[tuple[float, float]] = [(10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 19)]


def test_yolov3_on_two_feature_maps() -> None:
    coarse, fine = normal(1, 3 * 9, 3, 4), normal(1, 3 * 9, 6, 8)
    decoding = yolov3_decoding(ANCHORS, ["coarse", "fine"])
    candidates = reference.yolov3(coarse[0], SIZE, ANCHORS[:3]) + reference.yolov3(fine[0], SIZE, ANCHORS[3:])
    assert_same(decode_one({"coarse": coarse, "fine": fine}, decoding), candidates, decoding)


def test_yolov3_with_values_last() -> None:
    output = normal(1, 3 * 9, 6, 8)
    decoding = yolov3_decoding(ANCHORS[:3], ["out"], layout="channels_last")
    candidates = reference.yolov3(output[0], SIZE, ANCHORS[:3])
    assert_same(decode_one({"out": output.transpose(0, 2, 3, 1)}, decoding), candidates, decoding)


def test_yolov5_before_decoding() -> None:
    output = normal(1, 3, 6, 8, 9)
    decoding = DetectionDecoding(
        head="grid",
        boxes="out",
        layout="channels_last",
        anchors_per_cell=3,
        objectness_offset=4,
        class_offset=5,
        center_activation=Activation.SIGMOID,
        center_shift=-0.5,
        variances=[2.0, 1.0],
        size_activation=Activation.SIGMOID,
        size_factor=4.0,
        size_power=2.0,
        size_unit="anchor",
        anchors=[[width / SIZE[1], height / SIZE[0]] for width, height in ANCHORS[:3]],
        objectness_activation=Activation.SIGMOID,
        class_activation=Activation.SIGMOID,
    )
    assert_same(decode_one({"out": output}, decoding), reference.yolov5_raw(output[0], SIZE, ANCHORS[:3]), decoding)


def test_yolox_with_feature_maps_on_one_axis() -> None:
    strides = [8, 16, 32]
    cells = sum((SIZE[0] // stride) * (SIZE[1] // stride) for stride in strides)
    output = normal(1, cells, 8)
    output[..., 4:] = RNG.uniform(size=(1, cells, 4))
    decoding = DetectionDecoding(
        head="grid",
        boxes="out",
        layout="channels_last",
        strides=strides,
        objectness_offset=4,
        class_offset=5,
        size_activation=Activation.EXP,
        size_unit="cell",
    )
    assert_same(decode_one({"out": output}, decoding), reference.yolox(output[0], SIZE, strides), decoding)


def test_distances_from_the_centers_of_cells() -> None:
    boxes, scores = normal(1, 4, 6, 8), normal(1, 3, 6, 8)
    decoding = DetectionDecoding(
        head="grid",
        boxes="boxes",
        scores="scores",
        box_format="distances",
        center_shift=0.5,
        size_activation=Activation.EXP,
        size_unit="cell",
        class_activation=Activation.SIGMOID,
    )
    found = decode_one({"boxes": boxes, "scores": scores}, decoding)
    assert_same(found, reference.fcos(boxes[0], scores[0], SIZE), decoding)


def ssd_decoding(anchors: list[list[float]], **changes: Any) -> DetectionDecoding:
    return DetectionDecoding(
        head="anchors",
        boxes="boxes",
        scores="scores",
        layout="channels_last",
        anchors=anchors,
        variances=[0.1, 0.2],
        size_activation=Activation.EXP,
        class_activation=Activation.SOFTMAX,
        background_class=0,
        **changes,
    )


def test_ssd_anchors() -> None:
    anchors = [[float(value) for value in row] for row in RNG.uniform(0.1, 0.9, (60, 4))]
    boxes, scores = normal(1, 60, 4), normal(1, 60, 5) * 2
    decoding = ssd_decoding(anchors)
    found = decode_one({"boxes": boxes, "scores": scores}, decoding)
    assert_same(found, reference.ssd(boxes[0], scores[0], SIZE, anchors), decoding)
    swapped = ssd_decoding(anchors, coordinate_order="yx")
    assert_same(
        decode_one({"boxes": boxes[..., [1, 0, 3, 2]], "scores": scores}, swapped),
        reference.ssd(boxes[0], scores[0], SIZE, anchors),
        swapped,
    )


@pytest.mark.parametrize("background", [0, 2, 4])
def test_the_background_is_dropped_at_any_index(background: int) -> None:
    scores = np.full((1, 5, 5), 0.02, np.float32)
    scores[0, np.arange(5), np.arange(5)] = 0.9
    boxes = np.array([[[10 * i, 0, 10 * i + 9, 9] for i in range(5)]], np.float32)
    decoding = DIRECT.model_copy(update={"scores": "scores", "class_offset": 0, "background_class": background})
    found = decode_one({"out": boxes, "scores": scores}, decoding)
    assert sorted(found.classes.tolist()) == [0, 1, 2, 3]
    corner = {int(box[0]) // 10: int(class_) for box, class_ in zip(found.boxes, found.classes, strict=True)}
    assert corner == {i: i - (i > background) for i in range(5) if i != background}


def test_yolov8_direct_head() -> None:
    output = np.zeros((2, 7, 3), np.float32)
    output[0, :, 0] = [50, 40, 20, 10, 0.1, 0.8, 0.2]
    output[0, :, 1] = [51, 40, 20, 10, 0.1, 0.7, 0.2]
    output[1, :, 2] = [20, 20, 10, 10, 0.9, 0.1, 0.1]
    decoding = DetectionDecoding(head="direct", boxes="out", box_units="pixels", class_offset=4)
    first, second = decode({"out": output}, decoding, SIZE)
    assert first.boxes.tolist() == [[40, 35, 60, 45]]
    assert first.scores.tolist() == pytest.approx([0.8])
    assert first.classes.tolist() == [1]
    assert second.boxes.tolist() == [[15, 15, 25, 25]]
    assert second.classes.tolist() == [0]


def test_class_count_excludes_later_values() -> None:
    output = np.array([[[0, 0, 10, 10, 0.4, 0.6, 55.0, -8.0]]], np.float32)
    found = decode_one({"out": output}, DIRECT.model_copy(update={"class_count": 2}))
    assert found.classes.tolist() == [1]
    assert found.scores.tolist() == pytest.approx([0.6])


def test_fractions_are_relative_to_the_input() -> None:
    output = np.array([[[0.5, 0.25, 0.5, 0.5, 0.9]]], np.float32)
    decoding = DetectionDecoding(head="direct", boxes="out", layout="channels_last", class_offset=4)
    assert decode_one({"out": output}, decoding).boxes.tolist() == [[32, 0, 96, 48]]


def test_multi_label_returns_every_class_above_the_threshold() -> None:
    output = np.array([[[0, 0, 10, 10, 0.9, 0.5, 0.05]]], np.float32)
    assert decode_one({"out": output}, DIRECT).classes.tolist() == [0]
    found = decode_one({"out": output}, DIRECT.model_copy(update={"multi_label": True}))
    assert found.classes.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])


def test_class_indices_of_an_output_without_a_batch_axis() -> None:
    decoding = DetectionDecoding(
        head="direct",
        boxes="boxes",
        scores="scores",
        classes="labels",
        layout="channels_last",
        box_format="corners",
        box_units="pixels",
        background_class=0,
    )
    outputs = {
        "boxes": np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32),
        "scores": np.array([0.9, 0.8, 0.7], np.float32),
        "labels": np.array([3, 0, 1]),
    }
    found = decode_one(outputs, decoding)
    assert found.classes.tolist() == [2, 0]
    assert found.boxes.tolist() == [[0, 0, 10, 10], [40, 0, 50, 10]]


def test_yolov10_class_indices_next_to_the_boxes() -> None:
    decoding = DetectionDecoding(
        head="direct",
        boxes="out",
        layout="channels_last",
        box_format="corners",
        box_units="pixels",
        objectness_offset=4,
        class_offset=None,
        class_index_offset=5,
    )
    output = np.array([[[0, 0, 10, 10, 0.9, 7], [0, 0, 10, 10, 0.8, 2], [0, 0, 5, 5, 0.1, 2]]], np.float32)
    found = decode_one({"out": output}, decoding)
    assert found.classes.tolist() == [7, 2]
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])


def test_objectness_alone_is_one_class() -> None:
    decoding = DIRECT.model_copy(update={"class_offset": None, "objectness_offset": 4})
    found = decode_one({"out": np.array([[[0, 0, 10, 10, 0.6]]], np.float32)}, decoding)
    assert found.classes.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.6])


def test_boxes_with_non_finite_values_are_dropped() -> None:
    output = np.array(
        [[[0, 0, np.inf, 10, 0.9], [0, 0, 10, 10, np.nan], [0, np.nan, 10, 10, 0.9], [0, 0, 10, 10, 0.5]]], np.float32
    )
    assert decode_one({"out": output}, DIRECT).scores.tolist() == pytest.approx([0.5])


def test_no_detections() -> None:
    found = decode_one({"out": np.zeros((1, 3, 6), np.float32)}, DIRECT)
    assert found.boxes.shape == (0, 4)
    assert len(found) == 0


def test_max_detections() -> None:
    boxes = np.array([[[10 * i, 0, 10 * i + 9, 9, 0.2 + i / 100] for i in range(12)]], np.float32)
    found = decode_one({"out": boxes}, DIRECT.model_copy(update={"max_detections": 5}))
    assert found.scores.tolist() == pytest.approx([0.31, 0.30, 0.29, 0.28, 0.27])


def test_the_threshold_of_an_evaluation_is_low() -> None:
    output = np.array([[[0, 0, 10, 10, 0.06], [20, 0, 30, 10, 0.04]]], np.float32)
    assert len(decode_one({"out": output}, DIRECT)) == 0
    assert len(decode_one({"out": output}, for_evaluation(DIRECT))) == 1


def test_boxes_in_image_pixels() -> None:
    output = np.array([[[-8, 8, 48, 48, 0.9]], [[0, 0, 10, 10, 0.8]]], np.float32)
    placements = [Placement((0.5, 0.5), (0.0, 8.0), (200, 150)), Placement((2.0, 1.0), (0.0, 0.0), (4, 4))]
    first, second = decode_to_image_pixels({"out": output}, DIRECT, SIZE, placements)
    assert first.boxes.tolist() == [[0, 0, 96, 80]]
    assert second.boxes.tolist() == [[0, 0, 4, 4]]
    unclipped, _ = decode_to_image_pixels({"out": output}, DIRECT, SIZE, placements, clip=False)
    assert unclipped.boxes.tolist() == [[-16, 0, 96, 80]]


@pytest.mark.parametrize(
    ("outputs", "decoding", "words"),
    [
        ({}, DIRECT, "no output 'out'"),
        ({"out": np.zeros(3, np.float32)}, DIRECT, "three axes"),
        ({"out": np.zeros((1, 3, 3), np.float32)}, DIRECT, "four box values"),
        ({"out": np.full((1, 1, 6), 7, np.float32)}, DIRECT, "no probabilities"),
        ({"out": np.zeros((1, 9, 8), np.float32)}, FASTESTDET, "rows and columns"),
        ({"out": np.zeros((1, 26, 6, 8), np.float32)}, yolov3_decoding(ANCHORS[:3], ["out"]), "divisible by 3 anchors"),
        ({"boxes": np.zeros((1, 3, 4)), "scores": np.zeros((1, 3, 2))}, ssd_decoding([[0.5] * 4]), "one per anchor"),
        ({"boxes": np.zeros((1, 1, 4)), "scores": np.zeros((1, 2, 2))}, ssd_decoding([[0.5] * 4]), "1 candidates"),
    ],
)
def test_outputs_of_another_shape_are_refused(
    outputs: dict[str, NDArray[Any]], decoding: DetectionDecoding, words: str
) -> None:
    with pytest.raises(FaceterError, match=words) as caught:
        decode(outputs, decoding, SIZE)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED

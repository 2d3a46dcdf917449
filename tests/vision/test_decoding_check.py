from typing import Any

import pytest

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.models import TensorSpec
from faceter.vision.decoding_check import decoding_problems

Shape = list[int | str | None]
LABELS = [f"class {number}" for number in range(80)]
FASTESTDET = DetectionDecoding(head="grid", boxes="out", objectness_offset=0, box_offset=1, class_offset=5)


def spec(shape: Shape, name: str = "out") -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape)


def changed(**changes: Any) -> DetectionDecoding:
    return DetectionDecoding.model_validate({**FASTESTDET.model_dump(), **changes})


@pytest.mark.parametrize(
    "shape",
    [[1, 85, 22, 22], ["batch", 85, "h", "w"], ["batch", None, None, None], []],
    ids=["static", "map", "any", "?"],
)
def test_matching_and_dynamic_shapes_have_no_problems(shape: Shape) -> None:
    assert not list(decoding_problems(FASTESTDET, [spec(shape)], LABELS))


def test_common_heads_have_no_problems() -> None:
    direct = DetectionDecoding(head="direct", boxes="out", class_offset=4)
    assert not list(decoding_problems(direct, [spec([1, 84, 8400])], LABELS))
    ssd = DetectionDecoding(
        head="anchors", boxes="b", scores="s", layout="channels_last", anchors=[[0.5] * 4] * 7, background_class=0
    )
    assert not list(decoding_problems(ssd, [spec([1, 7, 4], "b"), spec([1, 7, 81], "s")], LABELS))
    yolox = changed(layout="channels_last", strides=[8, 16], box_offset=0, objectness_offset=4)
    assert not list(decoding_problems(yolox, [spec([1, 16 + 4, 85])], LABELS, (32, 32)))
    torchvision = DetectionDecoding(head="direct", boxes="b", scores="s", classes="l", layout="channels_last")
    assert not list(decoding_problems(torchvision, [spec(["n", 4], "b"), spec(["n"], "s"), spec(["n"], "l")], LABELS))
    yolov3 = changed(anchors_per_cell=3, box_offset=0, objectness_offset=4)
    assert not list(decoding_problems(yolov3, [spec([1, 255, 13, 13])], LABELS))
    joined = changed(anchors_per_cell=3, layout="channels_last", box_offset=0, objectness_offset=4)
    assert not list(decoding_problems(joined, [spec([1, 3, 13, 13, 85])], LABELS))


@pytest.mark.parametrize(
    ("decoding", "shape", "field", "words"),
    [
        (changed(boxes="scores"), [1, 85, 22, 22], "detection.boxes", "no output 'scores'; it has 'out'"),
        (changed(scores="s"), [1, 85, 22, 22], "detection.scores", "no output 's'"),
        (FASTESTDET, [1, 85, 484], "detection.boxes", "3 axes"),
        (changed(anchors_per_cell=2), [1, 85, 22, 22], "detection.anchors_per_cell", "2 equal parts"),
        (changed(box_offset=82), [1, 85, 22, 22], "detection.box_offset", "beyond the 85"),
        (changed(objectness_offset=85), [1, 85, 22, 22], "detection.objectness_offset", "beyond the 85"),
        (changed(class_offset=85), [1, 85, 22, 22], "detection.class_offset", "beyond the 85"),
        (changed(class_count=81), [1, 85, 22, 22], "detection.class_count", "81 classes"),
        (changed(background_class=80), [1, 85, 22, 22], "detection.background_class", "not one of 80"),
        (changed(background_class=0), [1, 85, 22, 22], "metadata.labels", "80 labels, but output 'out' has 79"),
        (changed(class_offset=4), [1, 85, 22, 22], "metadata.labels", "80 labels, but output 'out' has 81"),
        (changed(layout="channels_last", strides=[8]), [1, 9, 85], "detection.strides", "16 cells at strides"),
        (
            changed(head="anchors", layout="channels_last", anchors=[[0.5] * 4] * 7),
            [1, 8, 85],
            "detection.anchors",
            "7 anchors, but output 'out' has 8",
        ),
    ],
)
def test_contradictions_are_reported_with_their_field(
    decoding: DetectionDecoding, shape: Shape, field: str, words: str
) -> None:
    problems = list(decoding_problems(decoding, [spec(shape)], LABELS, (32, 32)))
    assert any(problem.field.endswith(field) and words in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("changes", "outputs", "field", "words"),
    [
        ({"objectness": "o"}, [], "objectness", "no output 'o'"),
        ({"count": "n"}, [], "count", "no output 'n'"),
        ({"masks": {"prototypes": "p", "offset": 4}}, [], "masks.prototypes", "no output 'p'"),
        ({"masks": {"prototypes": "p", "offset": 60}}, [([1, 32, 8, 8], "p")], "masks.offset", "beyond the 85"),
        ({"masks": {"prototypes": "p", "offset": 4}}, [([1, 31, 8, 8], "p")], "masks.count", "has 31 prototypes"),
        ({"masks": {"prototypes": "p", "offset": 4}}, [([1, 32], "p")], "masks.prototypes", "2 axes"),
        ({"keypoints": {"offset": 50, "count": 17}}, [], "keypoints.offset", "beyond the 85"),
        ({"box_format": "distances", "bins": 32}, [], "box_offset", "beyond the 85"),
    ],
)
def test_further_parts_are_checked(
    changes: dict[str, Any], outputs: list[tuple[Shape, str]], field: str, words: str
) -> None:
    specs = [spec([1, 85, 22, 22]), *(spec(shape, name) for shape, name in outputs)]
    problems = list(decoding_problems(changed(**changes), specs, LABELS))
    assert any(problem.field == f"metadata.detection.{field}" and words in problem.message for problem in problems)


def test_generated_anchors_are_counted() -> None:
    decoding = DetectionDecoding.model_validate(
        {"head": "anchors", "boxes": "b", "scores": "s", "layout": "channels_last", "anchor_grid": {}}
    )
    outputs = [spec([1, 100, 4], "b"), spec([1, 100, 80], "s")]
    problems = list(decoding_problems(decoding, outputs, LABELS, (64, 64)))
    assert [problem.field for problem in problems] == ["metadata.detection.anchor_grid"]
    assert "774 anchors" in problems[0].message
    assert not list(decoding_problems(decoding, outputs, LABELS))


def test_every_wrong_field_is_reported() -> None:
    decoding = changed(box_offset=90, objectness_offset=91, class_offset=92)
    problems = decoding_problems(decoding, [spec([1, 85, 22, 22])], LABELS)
    assert {problem.field for problem in problems} == {
        "metadata.detection.box_offset",
        "metadata.detection.objectness_offset",
        "metadata.detection.class_offset",
    }


def test_outputs_that_are_no_tensors_of_numbers_are_refused() -> None:
    sequence = TensorSpec(name="out", dtype="sequence(float32)", shape=[])
    problems = list(decoding_problems(FASTESTDET, [sequence], LABELS))
    assert [problem.field for problem in problems] == ["metadata.detection.boxes"]
    assert "sequence(float32)" in problems[0].message

from typing import Any

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import DetectionDecoding, TensorSpec
from faceter.vision.decoding_check import check_decoding

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
def test_what_fits_or_may_fit_passes(shape: Shape) -> None:
    check_decoding(FASTESTDET, [spec(shape)], LABELS)


def test_the_usual_heads_pass() -> None:
    direct = DetectionDecoding(head="direct", boxes="out", class_offset=4)
    check_decoding(direct, [spec([1, 84, 8400])], LABELS)
    ssd = DetectionDecoding(
        head="anchors", boxes="b", scores="s", layout="channels_last", anchors=[[0.5] * 4] * 7, background_class=0
    )
    check_decoding(ssd, [spec([1, 7, 4], "b"), spec([1, 7, 81], "s")], LABELS)
    yolox = changed(layout="channels_last", strides=[8, 16], box_offset=0, objectness_offset=4)
    check_decoding(yolox, [spec([1, 16 + 4, 85])], LABELS, (32, 32))
    torchvision = DetectionDecoding(head="direct", boxes="b", scores="s", classes="l", layout="channels_last")
    check_decoding(torchvision, [spec(["n", 4], "b"), spec(["n"], "s"), spec(["n"], "l")], LABELS)
    yolov3 = changed(anchors_per_cell=3, box_offset=0, objectness_offset=4)
    check_decoding(yolov3, [spec([1, 255, 13, 13])], LABELS)
    joined = changed(anchors_per_cell=3, layout="channels_last", box_offset=0, objectness_offset=4)
    check_decoding(joined, [spec([1, 3, 13, 13, 85])], LABELS)


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
def test_what_cannot_fit_is_told_with_its_field(
    decoding: DetectionDecoding, shape: Shape, field: str, words: str
) -> None:
    with pytest.raises(FaceterError) as caught:
        check_decoding(decoding, [spec(shape)], LABELS, (32, 32))
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert any(problem.field.endswith(field) and words in problem.message for problem in caught.value.errors)


def test_every_field_at_fault_is_told() -> None:
    with pytest.raises(FaceterError) as caught:
        check_decoding(changed(box_offset=90, objectness_offset=91, class_offset=92), [spec([1, 85, 22, 22])], LABELS)
    assert {problem.field for problem in caught.value.errors} == {
        "metadata.detection.box_offset",
        "metadata.detection.objectness_offset",
        "metadata.detection.class_offset",
    }

import numpy as np
import pytest

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.errors import FaceterError
from faceter.vision.detection import decode

PADDLE = DetectionDecoding(
    head="direct",
    boxes="rows",
    count="number",
    layout="channels_last",
    box_format="corners",
    box_units="pixels",
    box_offset=2,
    objectness_offset=1,
    class_offset=None,
    class_index_offset=0,
    iou_threshold=1.0,
)


def test_boxes_of_all_images_in_one_list_are_split_by_their_numbers() -> None:
    rows = np.array([[number, 0.9 - number / 100, number, 0, number + 5, 9] for number in range(6)], np.float32)
    first, second, third = decode({"rows": rows, "number": np.array([2, 0, 4])}, PADDLE, (10, 10))
    assert first.classes.tolist() == [0, 1]
    assert len(second) == 0
    assert third.classes.tolist() == [2, 3, 4, 5]
    assert third.boxes[0].tolist() == [2, 0, 7, 9]


def test_boxes_beyond_the_number_do_not_count() -> None:
    rows = np.tile(np.array([[[1, 0.9, 0, 0, 5, 9]]], np.float32), (2, 3, 1))
    rows[:, :, 2] = np.arange(3)
    found = decode({"rows": rows, "number": np.array([[1.0], [2.0]])}, PADDLE, (10, 10))
    assert [len(each) for each in found] == [1, 2]


def test_too_few_boxes_are_refused() -> None:
    with pytest.raises(FaceterError, match="3 boxes, as output 'number' counts"):
        decode({"rows": np.zeros((2, 6), np.float32), "number": np.array([3])}, PADDLE, (10, 10))

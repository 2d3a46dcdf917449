import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.vision.boxes import Detections, agreement_f1, iou_matrix, non_maximum_suppression
from tests.references.boxes import intersection_over_union, suppress

coordinates = st.integers(0, 24)
box = st.tuples(coordinates, coordinates, coordinates, coordinates).map(
    lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]
)
boxes = st.lists(box, max_size=20)


def array(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def detections(rows: list[list[int]], classes: list[int] | None = None) -> Detections:
    scores = np.linspace(1, 0.5, len(rows), dtype=np.float32)
    return Detections(array(rows), scores, np.array(classes or [0] * len(rows), np.int64))


@settings(deadline=None)
@given(boxes, boxes)
def test_iou_equals_the_reference(first: list[list[int]], second: list[list[int]]) -> None:
    matrix = iou_matrix(array(first), array(second))
    assert matrix.shape == (len(first), len(second))
    for i, j in itertools.product(range(len(first)), range(len(second))):
        assert matrix[i, j] == pytest.approx(intersection_over_union(first[i], second[j]))


@settings(deadline=None)
@given(boxes, st.data())
def test_suppression_keeps_what_the_reference_keeps(rows: list[list[int]], data: st.DataObject) -> None:
    scores = data.draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.9]), min_size=len(rows), max_size=len(rows)))
    classes = data.draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
    iou, limit = data.draw(st.sampled_from([0.2, 0.45, 0.7])), data.draw(st.integers(1, 25))
    agnostic = data.draw(st.booleans())
    kept = non_maximum_suppression(
        array(rows), np.array(scores), np.array(classes), iou=iou, limit=limit, class_agnostic=agnostic
    )
    assert kept.tolist() == suppress(rows, scores, classes, iou, limit, agnostic)


def test_suppression_keeps_boxes_of_other_classes() -> None:
    same = array([[0, 0, 10, 10], [0, 0, 10, 10]])
    scores = np.array([0.9, 0.8])
    assert non_maximum_suppression(same, scores, np.array([0, 1]), iou=0.5, limit=9).tolist() == [0, 1]
    assert non_maximum_suppression(same, scores, np.array([0, 0]), iou=0.5, limit=9).tolist() == [0]


@settings(deadline=None)
@given(st.lists(boxes, min_size=1, max_size=3))
def test_agreement_with_itself_is_1(images: list[list[list[int]]]) -> None:
    solid = [detections([row for row in rows if row[0] < row[2] and row[1] < row[3]]) for rows in images]
    assert agreement_f1(solid, solid) == 1


@settings(deadline=None)
@given(boxes, boxes)
def test_agreement_is_symmetric_and_between_0_and_1(first: list[list[int]], second: list[list[int]]) -> None:
    one, other = (
        agreement_f1([detections(first)], [detections(second)]),
        agreement_f1([detections(second)], [detections(first)]),
    )
    assert one == pytest.approx(other)
    assert 0 <= one <= 1


def test_agreement_counts_matches_once_and_by_class() -> None:
    base = [0, 0, 10, 10]
    assert agreement_f1([detections([base])], [detections([base, base])]) == pytest.approx(2 / 3)
    assert agreement_f1([detections([base])], [detections([base], [1])]) == 0
    assert agreement_f1([detections([base])], [detections([[0, 0, 10, 5]])]) == 1
    assert agreement_f1([detections([base])], [detections([[0, 0, 10, 4]])]) == 0


def test_agreement_requires_the_same_images() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        agreement_f1([], [detections([])])


def test_suppression_of_many_boxes_keeps_what_the_reference_keeps() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 40, (600, 2))
    rows = np.concatenate([corners, corners + rng.integers(1, 20, (600, 2))], axis=1).tolist()
    scores, classes = rng.integers(0, 50, 600) / 50, rng.integers(0, 3, 600)
    for agnostic in (False, True):
        kept = non_maximum_suppression(array(rows), scores, classes, iou=0.4, limit=150, class_agnostic=agnostic)
        assert kept.tolist() == suppress(rows, scores.tolist(), classes.tolist(), 0.4, 150, agnostic)

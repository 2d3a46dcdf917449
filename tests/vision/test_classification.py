import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.classification import probabilities, softmax_top

logits = st.lists(st.floats(-50, 50), min_size=2, max_size=8)


@settings(deadline=None)
@given(logits)
def test_softmax_equals_the_formula(row: list[float]) -> None:
    got = probabilities(np.array([row]))[0]
    total = sum(math.exp(value) for value in row)
    already = min(row) >= 0 and abs(sum(row) - 1) <= 1e-3
    expected = row if already else [math.exp(value) / total for value in row]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@settings(deadline=None)
@given(logits)
def test_probabilities_are_not_changed(row: list[float]) -> None:
    once = probabilities(np.array([row]))
    np.testing.assert_array_equal(probabilities(once), once)


def test_large_logits_do_not_overflow() -> None:
    assert probabilities(np.array([[1e4, 0.0], [-1e4, 0.0]])).tolist() == [[1, 0], [0, 1]]


def test_top_classes_best_first() -> None:
    first, second = softmax_top(np.array([[0.1, 3.0, 1.0], [5.0, 5.0, 0.0]]), ["cat", "dog", "fox"], 2)
    assert [entry.label for entry in first.top] == ["dog", "fox"]
    assert (first.index, first.label, first.score) == (1, "dog", first.top[0].score)
    assert [entry.index for entry in second.top] == [0, 1]
    assert second.score == pytest.approx(math.exp(5) / (2 * math.exp(5) + 1))


def test_without_labels_a_class_is_its_index_and_k_is_limited_to_all() -> None:
    (only,) = softmax_top(np.array([[0.0, 2.0]], np.float32), None, 10)
    assert [entry.label for entry in only.top] == ["1", "0"]
    assert sum(entry.score for entry in only.top) == pytest.approx(1)


def test_axes_of_length_one_after_the_classes_are_dropped() -> None:
    (only,) = softmax_top(np.zeros((1, 3, 1, 1), np.float32), None, 1)
    assert only.index == 0


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (np.zeros(3), "must be"),
        (np.zeros((1, 3, 2)), "must be"),
        (np.zeros((1, 0)), "must be"),
        (np.array([[np.nan, 1.0]]), "not finite"),
        (np.array([[np.inf, 1.0]]), "not finite"),
        (np.zeros((1, 3)), "3 classes but has 2 labels"),
    ],
)
def test_outputs_without_classes_are_refused(output: np.ndarray, words: str) -> None:
    with pytest.raises(FaceterError, match=words) as caught:
        softmax_top(output, ["a", "b"], 1)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED


def test_probabilities_of_a_softmax_are_kept_whatever_their_sum_is() -> None:
    rows = np.array([[0.6, 0.0, 0.0], [0.2, 0.9, 0.7]])
    np.testing.assert_array_equal(probabilities(rows, are_probabilities=True), rows)
    assert softmax_top(rows, None, 1, are_probabilities=True)[0].score == 0.6
    assert softmax_top(rows, None, 1)[0].score < 0.5

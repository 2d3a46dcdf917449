import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.vision.text_recognition import greedy_texts

CHARACTERS = ["a", "b", " "]


def one_hot(steps: list[int], score: float = 0.9) -> np.ndarray:
    rest = (1 - score) / len(CHARACTERS)
    return np.array([[score if number == step else rest for number in range(4)] for step in steps], np.float32)


def test_repeats_are_joined_and_blanks_left_out() -> None:
    scores = np.stack([one_hot([0, 1, 1, 0, 1, 2, 2]), one_hot([0, 0, 0, 0, 0, 0, 0]), one_hot([3, 1, 0, 3, 2, 3, 3])])
    first, empty, spaced = greedy_texts(scores, CHARACTERS)
    assert first.text == "aab"
    assert first.score == pytest.approx(0.9)
    assert (empty.text, empty.score) == ("", 0.0)
    assert spaced.text == "a b"


def test_logits_become_probabilities() -> None:
    (text,) = greedy_texts(np.log(one_hot([1, 0, 2]))[None] + 5, CHARACTERS)
    assert text.text == "ab"
    assert text.score == pytest.approx(0.9, rel=1e-4)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_any_steps_as_by_hand(steps: list[int]) -> None:
    (text,) = greedy_texts(one_hot(steps)[None], CHARACTERS)
    joined = [number for number, _ in itertools.groupby(steps)]
    assert text.text == "".join(CHARACTERS[number - 1] for number in joined if number).strip(" ")


@pytest.mark.parametrize("shape", [(1, 4), (1, 3, 5), (1, 2, 3, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FaceterError, match="steps") as caught:
        greedy_texts(np.zeros(shape), CHARACTERS)
    assert caught.value.kind is ProblemKind.INFERENCE_FAILED

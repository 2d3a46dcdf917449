import numpy as np
import pytest

from faceter.contracts.text import Pooling, TextProcessing
from faceter.text.embeddings import embed

RNG = np.random.default_rng(0)
OUTPUT = RNG.normal(size=(3, 5, 4)).astype(np.float32)
MASK = np.array([[1, 1, 1, 0, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], np.bool_)


def by_loops(pooling: Pooling, row: int) -> list[float]:
    places = [place for place in range(5) if MASK[row, place]]
    if pooling is Pooling.CLS:
        return [float(value) for value in OUTPUT[row, places[0]]]
    return [sum(float(OUTPUT[row, place, unit]) for place in places) / len(places) for unit in range(4)]


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.CLS])
def test_tokens_are_pooled_without_padding(pooling: Pooling) -> None:
    found = embed(OUTPUT, MASK, TextProcessing(pooling=pooling))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [by_loops(pooling, row) for row in range(3)], rtol=1e-6)


def test_the_models_own_vector_is_kept() -> None:
    np.testing.assert_array_equal(embed(OUTPUT[:, 0], MASK, TextProcessing(pooling=Pooling.MODEL)), OUTPUT[:, 0])


def test_vectors_are_scaled_to_length_one_but_for_zeros() -> None:
    values = np.concatenate([OUTPUT[:, 0], np.zeros((1, 4), np.float32)])
    found = embed(values, MASK, TextProcessing(pooling=Pooling.MODEL, normalize=True))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), [1, 1, 1, 0], rtol=1e-6)


def test_a_text_without_tokens_is_a_vector_of_zeros() -> None:
    found = embed(OUTPUT[:1], np.zeros((1, 5), np.bool_), TextProcessing(pooling=Pooling.MEAN))
    np.testing.assert_array_equal(found, np.zeros((1, 4)))

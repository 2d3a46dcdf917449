"""Beam search, compared with the published procedure on pixel masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.explanations import Operator
from tests.references import compositional as reference
from tests.workers.explanation.search.toy_data import (
    PENALTIES,
    SOME_OPERATORS,
    ToyData,
    random_toy_data,
    text,
    toy_data,
)
from workers.explanation.search.beam import BeamSettings, beam_search


def beams(data: ToyData, **options: object) -> list[list[tuple[str, float]]]:
    candidates = (data.patterns.sums(data.fires) > 0) | True
    found = beam_search(data.patterns, data.fires, candidates, BeamSettings(**options))  # type: ignore[arg-type]
    return [[(text(scored.formula), scored.score) for scored in by_length] for by_length in found]


@settings(max_examples=60, deadline=None)
@given(data=toy_data(), operators=SOME_OPERATORS, beam=st.integers(1, 6), length=st.integers(1, 4), penalty=PENALTIES)
def test_beam_search_is_the_published_procedure(
    data: ToyData, operators: tuple[Operator, ...], beam: int, length: int, penalty: float
) -> None:
    expected = [
        [
            (found.text, found.score)
            for found in reference.beam_search(
                unit,
                list(data.concepts),
                range(len(data.concepts)),
                [operator.value for operator in operators],
                beam,
                length,
                penalty,
            )
        ]
        for unit in data.units
    ]
    assert beams(data, operators=operators, beam_size=beam, max_length=length, penalty=penalty) == expected


def test_beam_search_uses_candidates_only() -> None:
    data = random_toy_data(3, concepts=6, pixels=300, units=4)
    candidates = np.zeros((4, 6), bool)
    candidates[:, [1, 4]] = True
    for unit, by_length in zip(data.units, beam_search(data.patterns, data.fires, candidates), strict=True):
        expected = reference.beam_search(unit, list(data.concepts), [1, 4])
        assert [(text(scored.formula), scored.score) for scored in by_length] == [
            (one.text, one.score) for one in expected
        ]


def test_of_equal_formulas_the_first_created_is_kept() -> None:
    twins = ToyData(np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool), np.array([[1, 1, 0, 0]], bool))
    assert beams(twins, max_length=3) == [[("0", 1.0), ("0", 1.0), ("0", 1.0)]]


def test_beam_search_does_not_depend_on_the_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_toy_data(5, concepts=8, pixels=400, units=7)
    together = beams(data)
    monkeypatch.setattr("workers.explanation.search.beam._BLOCK_BYTES", 1)
    assert beams(data) == together


def test_sparse_sums_equal_dense_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random_toy_data(6, concepts=9, pixels=500, units=5)
    dense = beams(data)
    monkeypatch.setattr("workers.explanation.search.patterns._DENSE_CELLS", 0)
    assert beams(data) == dense

"""Kinds of abstraction."""

import numpy as np
import pytest

from faceter.contracts.analyses import Abstraction, AbstractionsRequest
from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Concept, Formula
from tests.workers.explanation.unit_examples import explained_unit
from workers.explanation.analyses.abstractions import abstraction_kind, abstractions, cooccurrence

NAMES = ["car", "bus", "road", "sky", "dusk"]
CONCEPTS = [Concept(name, "object") for name in NAMES]
TAXONOMY = {"vehicle": ["car", "bus"], "above": ["sky"]}


def formula(first: str, *rest: tuple[Operator, str]) -> Formula:
    return Formula(NAMES.index(first), tuple((operator, NAMES.index(name)) for operator, name in rest))


def cooccur(one: str, other: str) -> bool:
    return {one, other} == {"car", "road"}


def related(one: str, other: str) -> bool:
    return {one, other} == {"car", "bus"}


@pytest.mark.parametrize(
    ("tested", "expected"),
    [
        (formula("car"), Abstraction.SINGLE),
        (formula("car", (Operator.OR, "car")), Abstraction.SINGLE),
        (formula("car", (Operator.OR, "bus")), Abstraction.COHERENT),
        (formula("car", (Operator.OR, "road")), Abstraction.INCOHERENT),
        (formula("bus", (Operator.OR, "car"), (Operator.OR, "road")), Abstraction.INCOHERENT),
        (formula("car", (Operator.OR, "sky")), Abstraction.POLYSEMANTIC),
        (formula("car", (Operator.OR, "bus"), (Operator.OR, "sky")), Abstraction.POLYSEMANTIC),
        (formula("road", (Operator.AND_NOT, "dusk")), Abstraction.SPECIALIZED),
        (formula("car", (Operator.OR, "bus"), (Operator.AND, "road")), Abstraction.SPECIALIZED),
    ],
)
def test_the_kind_of_a_formula(tested: Formula, expected: Abstraction) -> None:
    assert abstraction_kind(tested.tree(CONCEPTS), related, cooccur) is expected


def test_the_request_takes_precedence_over_vectors() -> None:
    units = [
        explained_unit(0, formula("car", (Operator.OR, "bus")), CONCEPTS),
        explained_unit(1, formula("car", (Operator.OR, "sky")), CONCEPTS),
        explained_unit(2),
    ]
    by_taxonomy = abstractions(units, AbstractionsRequest(taxonomy=TAXONOMY), None, cooccur)
    assert by_taxonomy.by == "taxonomy"
    assert [unit.kind for unit in by_taxonomy.units] == [Abstraction.COHERENT, Abstraction.POLYSEMANTIC]
    assert by_taxonomy.shares[Abstraction.COHERENT] == 0.5
    given = AbstractionsRequest(embedding={"car": [1, 0], "bus": [0, 1], "sky": [1, 0.1]})
    by_embedding = abstractions(units, given, None, cooccur)
    assert [unit.kind for unit in by_embedding.units] == [Abstraction.POLYSEMANTIC, Abstraction.COHERENT]
    vectors = {"car": np.array([1.0, 0.0]), "sky": np.array([1.0, 0.0])}
    by_vectors = abstractions(units, AbstractionsRequest(), vectors, cooccur)
    assert by_vectors.by == "vectors"
    assert by_vectors.unknown == ["bus"]
    assert abstractions(units, AbstractionsRequest(), None, cooccur).by == "cooccurrence"


def test_going_together_is_being_in_the_same_samples_more_often_than_chance() -> None:
    presence = [{"car", "road"}, {"car", "road"}, {"sky", "bus"}, {"sky", "car"}, {"sky"}, {"sky"}]
    found = cooccurrence(presence, NAMES, 0.0)
    assert found("road", "car")
    assert not found("car", "sky")
    assert not found("road", "sky")
    assert not found("car", "dusk")
    sample_level = cooccurrence([{"car", "road"}, {"car", "road"}], NAMES, 0.0)
    assert sample_level("car", "road")

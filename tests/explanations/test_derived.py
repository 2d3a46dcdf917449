"""Concepts that are found in samples themselves."""

import pytest

from faceter.contracts.explanations import DerivedConcept
from faceter.explanations.derived import DERIVED


def test_every_derived_concept_has_names() -> None:
    assert set(DERIVED) == set(DerivedConcept)
    assert all(names for by_about in DERIVED.values() for found in by_about.values() for names in found.values())


@pytest.mark.parametrize("about", ["images", "signals"])
def test_no_name_is_there_twice(about: str) -> None:
    found = [names for by_about in DERIVED.values() for names in by_about.get(about, {}).values()]
    names = [name for several in found for name in several]
    assert len(set(names)) == len(names)


def test_colours_are_those_the_contract_names() -> None:
    names = DERIVED[DerivedConcept.COLOR]["images"]["color"]
    assert len(names) == 11
    assert names == sorted(names)

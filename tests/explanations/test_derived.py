"""Derived concepts."""

import pytest

from faceter.contracts.explanations import DerivedConcept
from faceter.explanations.derived import DERIVED_CONCEPTS


def test_every_derived_concept_has_names() -> None:
    assert set(DERIVED_CONCEPTS) == set(DerivedConcept)
    assert all(
        names for by_about in DERIVED_CONCEPTS.values() for found in by_about.values() for names in found.values()
    )


@pytest.mark.parametrize("about", ["images", "signals"])
def test_names_are_distinct(about: str) -> None:
    found = [names for by_about in DERIVED_CONCEPTS.values() for names in by_about.get(about, {}).values()]
    names = [name for several in found for name in several]
    assert len(set(names)) == len(names)


def test_colours_are_sorted() -> None:
    names = DERIVED_CONCEPTS[DerivedConcept.COLOR]["images"]["color"]
    assert len(names) == 11
    assert names == sorted(names)

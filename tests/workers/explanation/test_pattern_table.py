"""Patterns are the distinct sets of concepts of pixels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError
from workers.explanation import pattern_table
from workers.explanation.pattern_table import PatternTable
from workers.explanation.probe.dataset import ConceptRange, SampleConcepts
from workers.explanation.search.patterns import Patterns

LABEL_MAPS = [ConceptRange(0, 3), ConceptRange(3, 2), ConceptRange(7, 1)]
CONCEPTS = 8
"""Concepts 5 and 6 are in no label map."""


@st.composite
def some_concepts(draw: st.DrawFn) -> SampleConcepts:
    pixels = draw(st.integers(1, 12))
    values = [
        draw(st.lists(st.integers(0, labelled.size), min_size=pixels, max_size=pixels)) for labelled in LABEL_MAPS
    ]
    sample_level = draw(st.sets(st.sampled_from([1, 5, 6]), max_size=3))
    return SampleConcepts(np.array(values, np.int64), tuple(sorted(sample_level)))


def sets_of(concepts: SampleConcepts) -> list[frozenset[int]]:
    """Return the concepts of each pixel."""
    return [
        frozenset(concepts.sample_level)
        | {labelled.first + int(value) - 1 for labelled, value in zip(LABEL_MAPS, pixel, strict=True) if value}
        for pixel in concepts.label_maps.T
    ]


def sets_in(patterns: Patterns) -> list[frozenset[int]]:
    """Return the concepts of each pattern."""
    parts = np.split(patterns.concepts, patterns.starts[1:-1])
    return [frozenset(part.tolist()) for part in parts]


@pytest.mark.parametrize("further_keys", [2**31, 8])
@settings(max_examples=60, deadline=None)
@given(samples=st.lists(some_concepts(), min_size=1, max_size=5))
def test_pixels_share_a_pattern_if_and_only_if_they_have_the_same_concepts(
    further_keys: int, samples: list[SampleConcepts]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern_table, "_FURTHER_KEYS", further_keys)
        patch.setattr(pattern_table, "_FIRST_KEYS", further_keys**2)
        table = PatternTable(LABEL_MAPS, CONCEPTS)
        ids = [table.ids(concepts) for concepts in samples]
    for found in ids:
        table.count(found)
    patterns = table.patterns()
    carried = sets_in(patterns)
    expected = [pixel for concepts in samples for pixel in sets_of(concepts)]
    assert [carried[number] for found in ids for number in found] == expected
    counts: Counter[frozenset[int]] = Counter()
    for concepts, weight in zip(carried, patterns.weights.tolist(), strict=True):
        counts[concepts] += weight
    assert counts == Counter(expected)


@settings(max_examples=30, deadline=None)
@given(samples=st.lists(some_concepts(), min_size=2, max_size=5))
def test_a_restored_table_continues(samples: list[SampleConcepts]) -> None:
    whole, before = PatternTable(LABEL_MAPS, CONCEPTS), PatternTable(LABEL_MAPS, CONCEPTS)
    before.count(before.ids(samples[0]))
    after = PatternTable(LABEL_MAPS, CONCEPTS)
    after.restore({name: values.copy() for name, values in before.state().items()})
    whole.count(whole.ids(samples[0]))
    for concepts in samples[1:]:
        expected, found = whole.ids(concepts), after.ids(concepts)
        assert found.tolist() == expected.tolist()
        whole.count(expected)
        after.count(found)
    assert sets_in(after.patterns()) == sets_in(whole.patterns())
    assert after.patterns().weights.tolist() == whole.patterns().weights.tolist()


def test_invisible_pixels_have_no_pattern_and_are_not_counted() -> None:
    table = PatternTable(LABEL_MAPS, CONCEPTS)
    concepts = SampleConcepts(np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0]]))
    ids = table.ids(concepts, np.array([True, False, True]))
    table.count(ids)
    assert ids.tolist() == [0, -1, 1]
    assert table.patterns().pixels == 2
    assert table.concepts_of(np.array([0, 1])).tolist() == [0, 2]


def test_too_many_patterns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_table, "MAX_PATTERNS", 3)
    table = PatternTable([ConceptRange(0, 100)], 100)
    with pytest.raises(FaceterError, match="resolution"):
        table.ids(SampleConcepts(np.arange(9)[None]))

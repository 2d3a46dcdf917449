"""Patterns are the sets of concepts that pixels carry, however they come."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError
from workers.explanation import pattern_table
from workers.explanation.pattern_table import PatternTable
from workers.explanation.patterns import Patterns
from workers.explanation.samples import Group, Labels

GROUPS = [Group(0, 3), Group(3, 2), Group(7, 1)]
CONCEPTS = 8
"""Concepts 5 and 6 are of whole samples."""


@st.composite
def some_labels(draw: st.DrawFn) -> Labels:
    pixels = draw(st.integers(1, 12))
    values = [draw(st.lists(st.integers(0, group.size), min_size=pixels, max_size=pixels)) for group in GROUPS]
    everywhere = draw(st.sets(st.sampled_from([1, 5, 6]), max_size=3))
    return Labels(np.array(values, np.int64), tuple(sorted(everywhere)))


def sets_of(labels: Labels) -> list[frozenset[int]]:
    """The concepts of each pixel."""
    return [
        frozenset(labels.everywhere)
        | {group.first + int(value) - 1 for group, value in zip(GROUPS, pixel, strict=True) if value}
        for pixel in labels.values.T
    ]


def sets_in(patterns: Patterns) -> list[frozenset[int]]:
    """The concepts of each pattern."""
    parts = np.split(patterns.concepts, patterns.starts[1:-1])
    return [frozenset(part.tolist()) for part in parts]


@pytest.mark.parametrize("further_keys", [2**31, 8])
@settings(max_examples=60, deadline=None)
@given(samples=st.lists(some_labels(), min_size=1, max_size=5))
def test_pixels_have_one_pattern_if_and_only_if_they_carry_the_same(further_keys: int, samples: list[Labels]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pattern_table, "_FURTHER_KEYS", further_keys)
        patch.setattr(pattern_table, "_FIRST_KEYS", further_keys**2)
        table = PatternTable(GROUPS, CONCEPTS)
        ids = [table.ids(labels) for labels in samples]
    for found in ids:
        table.count(found)
    patterns = table.patterns()
    carried = sets_in(patterns)
    expected = [concepts for labels in samples for concepts in sets_of(labels)]
    assert [carried[number] for found in ids for number in found] == expected
    counts: Counter[frozenset[int]] = Counter()
    for concepts, weight in zip(carried, patterns.weights.tolist(), strict=True):
        counts[concepts] += weight
    assert counts == Counter(expected)


@settings(max_examples=30, deadline=None)
@given(samples=st.lists(some_labels(), min_size=2, max_size=5))
def test_a_table_goes_on_from_what_it_was(samples: list[Labels]) -> None:
    whole, before = PatternTable(GROUPS, CONCEPTS), PatternTable(GROUPS, CONCEPTS)
    before.count(before.ids(samples[0]))
    after = PatternTable(GROUPS, CONCEPTS)
    after.restore({name: values.copy() for name, values in before.state().items()})
    whole.count(whole.ids(samples[0]))
    for labels in samples[1:]:
        expected, found = whole.ids(labels), after.ids(labels)
        assert found.tolist() == expected.tolist()
        whole.count(expected)
        after.count(found)
    assert sets_in(after.patterns()) == sets_in(whole.patterns())
    assert after.patterns().weights.tolist() == whole.patterns().weights.tolist()


def test_pixels_that_are_not_seen_have_no_pattern_and_do_not_count() -> None:
    table = PatternTable(GROUPS, CONCEPTS)
    labels = Labels(np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0]]))
    ids = table.ids(labels, np.array([True, False, True]))
    table.count(ids)
    assert ids.tolist() == [0, -1, 1]
    assert table.patterns().pixels == 2
    assert table.concepts_of(np.array([0, 1])).tolist() == [0, 2]


def test_too_many_patterns_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern_table, "MOST_PATTERNS", 3)
    table = PatternTable([Group(0, 100)], 100)
    with pytest.raises(FaceterError, match="resolution"):
        table.ids(Labels(np.arange(9)[None]))

"""Names are equal however their letters are encoded."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.base import composed
from faceter.datasets.names import folded, label_positions, numbered_names


@given(st.text())
def test_the_form_does_not_matter(text: str) -> None:
    forms = [unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)]
    assert len({composed(form) for form in forms}) == 1
    assert len({folded(form) for form in forms}) == 1
    assert composed(composed(text)) == composed(text)


def test_case_does_not_matter_when_folded() -> None:
    assert folded("STRASSE") == folded("Straße")
    assert folded("CAFE\u0301") == folded("café")
    assert folded("cafe") != folded("café")


def test_the_first_of_equal_labels_counts() -> None:
    assert label_positions(["a", "cafe\u0301", "a", "café"]) == {"a": 0, "café": 1}


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["0", "1", "10"], {"0": 0, "1": 1, "10": 10}),
        (["007", "12"], {"007": 7, "12": 12}),
        (["1", "01"], None),
        (["1", "one"], None),
        (["-1", "2"], None),
        (["1.5"], None),
        (["²"], None),
        (["٣"], None),
        (["1" * 10], None),
    ],
)
def test_names_that_are_numbers(names: list[str], numbers: dict[str, int] | None) -> None:
    assert numbered_names(names) == numbers

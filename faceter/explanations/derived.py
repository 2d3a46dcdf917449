"""Concepts derived from the samples instead of labels."""

from __future__ import annotations

from typing import Final

from faceter.contracts.explanations import DerivedConcept

DERIVED_CONCEPTS: Final[dict[DerivedConcept, dict[str, dict[str, list[str]]]]] = {
    DerivedConcept.COLOR: {
        "images": {
            "color": ["black", "blue", "brown", "gray", "green", "orange", "pink", "purple", "red", "white", "yellow"]
        }
    },
    DerivedConcept.POSITION: {
        "images": {"row": ["top", "middle", "bottom"], "column": ["left", "center", "right"]},
        "signals": {"third": ["start", "middle", "end"]},
    },
}
"""Names of the concepts by kind of sample and category."""

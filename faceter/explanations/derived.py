"""Concepts that are found in the samples themselves."""

from __future__ import annotations

from typing import Final

from faceter.contracts.explanations import DerivedConcept

DERIVED: Final[dict[DerivedConcept, dict[str, dict[str, list[str]]]]] = {
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
"""By what samples are: names of the concepts by category."""

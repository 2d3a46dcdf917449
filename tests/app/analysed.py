"""Analyses as a worker makes them."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from faceter.contracts.analyses import Analysis, AnalysisRequest, AnalysisResult
from faceter.contracts.base import new_id, utc_now
from faceter.store.library import Library
from tests.app.graded import stored

_REQUEST: Final[TypeAdapter[AnalysisRequest]] = TypeAdapter(AnalysisRequest)
_RESULT: Final[TypeAdapter[AnalysisResult]] = TypeAdapter(AnalysisResult)

_RATE = {"tries": 10, "successes": 5, "rate": 0.5, "interval": [0.24, 0.76], "probability_gain": 0.3}

SAID: Final[Mapping[str, Mapping[str, Any]]] = {
    "abstractions": {},
    "interpretability": {},
    "copy_paste": {"label": "car"},
    "drift": {"models": ["mdl_other"]},
}
"""The least that each kind must say."""

FOUND: Final[Mapping[str, Mapping[str, Any]]] = {
    "abstractions": {
        "by": "cooccurrence",
        "shares": {"single": 1.0},
        "units": [{"layer": "relu", "unit": 0, "formula": "car", "score": 0.5, "kind": "single"}],
    },
    "interpretability": {
        "of": "accuracy",
        "overall": 0.5,
        "correlations": [{"length": 1, "units": 1, "r": None, "p": None}],
        "units": [{"layer": "relu", "unit": 0, "samples": 12, "accuracy": 0.75, "score": 0.5}],
    },
    "copy_paste": {"label": "car", "proposed": _RATE, "control": _RATE, "changes": ["paste car"], "examples": []},
    "drift": {
        "models": [
            {"model_id": "mdl_other", "bits": "W4A4", "mean_iou": 1, "same_formula": 1, "score_change": 0, "units": []}
        ]
    },
}
"""What each kind found."""


def add_analysed(
    library: Library,
    kind: str = "abstractions",
    explanation: str = "exp_analysed",
    *,
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Analysis:
    """Keep an analysis with its files, as a worker does."""
    result = _RESULT.validate_python({"kind": kind, **FOUND[kind]})
    kept = stored(library, result.model_dump_json(indent=1).encode(), files or {})
    made: dict[str, Any] = {
        "id": new_id("anl"),
        "explanation_id": explanation,
        "created_at": utc_now(),
        "settings": _REQUEST.validate_python({"kind": kind, **SAID[kind]}),
        "result": result,
        "seconds": 1.5,
    }
    return library.add(Analysis(**{**made, **kept, **changes}))

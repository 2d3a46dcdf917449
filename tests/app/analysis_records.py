"""Analyses, stored as by a worker."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from faceter.contracts.analyses import Analysis, AnalysisRequest, AnalysisResult
from faceter.contracts.base import new_id, utc_now
from faceter.store.library import Library
from tests.app.evaluation_records import store_files

_REQUEST: Final[TypeAdapter[AnalysisRequest]] = TypeAdapter(AnalysisRequest)
_RESULT: Final[TypeAdapter[AnalysisResult]] = TypeAdapter(AnalysisResult)

_RATE = {"tries": 10, "successes": 5, "rate": 0.5, "interval": [0.24, 0.76], "probability_gain": 0.3}

REQUESTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "abstractions": {},
    "interpretability": {},
    "copy_paste": {"label": "car"},
    "drift": {"model_ids": ["mdl_other"]},
}
"""Required options of each kind."""

RESULTS: Final[Mapping[str, Mapping[str, Any]]] = {
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
"""Results of each kind."""


def add_analysis(
    library: Library,
    kind: str = "abstractions",
    explanation: str = "exp_analysed",
    *,
    files: Mapping[str, bytes] | None = None,
    **changes: Any,
) -> Analysis:
    """Store an analysis with its files."""
    result = _RESULT.validate_python({"kind": kind, **RESULTS[kind]})
    fields = store_files(library, result.model_dump_json(indent=1).encode(), files or {})
    defaults: dict[str, Any] = {
        "id": new_id("anl"),
        "explanation_id": explanation,
        "created_at": utc_now(),
        "settings": _REQUEST.validate_python({"kind": kind, **REQUESTS[kind]}),
        "result": result,
        "seconds": 1.5,
    }
    return library.add(Analysis(**{**defaults, **fields, **changes}))

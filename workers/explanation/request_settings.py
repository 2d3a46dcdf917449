"""A request applied to a probe dataset: defaults, units, and the error if no unit fires."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.explanations.units import no_such_unit
from workers.explanation.activation_thresholds import (
    DEFAULT_QUANTILE,
    DEFAULT_TEXT_THRESHOLD,
    DEFAULT_TOKENIZED_QUANTILE,
)
from workers.explanation.layer_search import LayerResult
from workers.explanation.probe.dataset import Integers, ProbeDataset
from workers.explanation.probe.tokenized import TokenizedProbeDataset


def with_defaults(request: ExplanationRequest, probe: ProbeDataset) -> ExplanationRequest:
    """Return the request with the defaults that depend on the kind of sample."""
    defaults: dict[str, object] = {"operators": request.joined_by}
    if probe.about == "images":
        defaults["resolution"] = list(probe.grid)
    if request.quantile is None and request.threshold is None:
        defaults |= {"threshold": DEFAULT_TEXT_THRESHOLD} if probe.about == "text" else {"quantile": DEFAULT_QUANTILE}
    return request.model_copy(update=defaults)


def with_default_quantile(request: ExplanationRequest, probe: ProbeDataset) -> ExplanationRequest:
    """Return the request with the quantile of texts of a model with a tokenizer, if it says no threshold.

    Units of such models are positive in nearly every text, so that 0 is no threshold for them.
    """
    if request.quantile is not None or request.threshold is not None or not isinstance(probe, TokenizedProbeDataset):
        return request
    return request.model_copy(update={"quantile": DEFAULT_TOKENIZED_QUANTILE})


def select_units(request: ExplanationRequest, layer: str, count: int) -> Integers:
    """Return the units of a layer to explain, int64 [U].

    Raises:
        FaceterError: ``INVALID_REQUEST`` if the layer does not have one of them.
    """
    if request.units is None:
        return np.arange(count)
    units = list(dict.fromkeys(request.units))
    missing = [unit for unit in units if unit >= count]
    if missing:
        raise FaceterError(
            ProblemKind.INVALID_REQUEST,
            no_such_unit(layer, count, missing[0]),
            field="units",
        )
    return np.array(units, np.int64)


def require_firing_unit(request: ExplanationRequest, results: Sequence[LayerResult], about: str) -> None:
    """Check that at least one unit fires often enough to be explained.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if none does.
    """
    if any(search is not None for result in results for search in result.searches):
        return
    most = max(int(result.firings.max(initial=0)) for result in results)
    units = "no unit" if request.units is None else "none of the requested units"
    layers = " and ".join(repr(layer) for layer in request.layers)
    if most:
        often = f"often enough: the most frequent one fires at {most:,} pixels"
        remedy = f"Give a `min_firings` of {most:,} at most"
    else:
        often = "anywhere in this dataset"
        lower = request.threshold is not None or (about == "text" and request.quantile is None)
        remedy = "Give a lower `threshold`" if lower else "Give a higher `quantile` or a `threshold`"
    raise FaceterError(
        ProblemKind.DATASET_MISMATCH,
        f"There is nothing to explain: {units} of {layers} fires {often}. {remedy}, or choose others.",
        field="layer",
    )

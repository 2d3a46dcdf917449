"""Activation thresholds: T such that P(activation > T) is the requested quantile (Network Dissection, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from workers.explanation.activations import Maps
from workers.explanation.quantiles import upper_quantiles
from workers.explanation.recorded_activations import LayerActivations

DEFAULT_QUANTILE = 0.005
"""Fraction of activations over the threshold, as published."""

DEFAULT_TEXT_THRESHOLD = 0.0
"""Threshold for text: a unit fires where its ReLU is positive."""

DEFAULT_TOKENIZED_QUANTILE = 0.05
"""Fraction of texts in which a unit of a model with a tokenizer fires."""

_READ_BYTES = 2**23


def activation_thresholds(layer: LayerActivations, request: ExplanationRequest, *, about: str) -> NDArray[np.float32]:
    """Return the threshold of each unit, float32 [U]: the quantile of its activations before upsampling."""
    count = len(layer.units)
    if request.threshold is not None:
        return np.full(count, request.threshold, np.float32)
    if request.quantile is None and about == "text":
        return np.full(count, DEFAULT_TEXT_THRESHOLD, np.float32)

    def passes() -> Iterator[Maps]:
        for start, stop in sample_blocks(layer):
            yield np.ascontiguousarray(layer.maps.rows(start, stop).transpose(1, 0, 2, 3)).reshape(count, -1)

    return upper_quantiles(passes, count, DEFAULT_QUANTILE if request.quantile is None else request.quantile)


def sample_blocks(layer: LayerActivations) -> Iterator[tuple[int, int]]:
    """Yield ranges [start, stop) of samples whose activations are read at a time."""
    size = max(1, _READ_BYTES // (4 * len(layer.units) * layer.shape[1] * layer.shape[2]))
    for start in range(0, len(layer.maps), size):
        yield start, min(start + size, len(layer.maps))

"""Decodes the output of a classifier."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.predictions import Classification, ScoredLabel

_SUM_TOLERANCE = 1e-3


def softmax_top(
    logits: NDArray[Any], labels: Sequence[str] | None, k: int, *, are_probabilities: bool = False
) -> list[Classification]:
    """Return the most likely classes of each input.

    Args:
        logits: [N, K] logits, or probabilities; axes of length 1 after K are dropped.
        labels: K names; without them a class is named by its index.
        k: Number of classes per input, at most K.
        are_probabilities: Whether the network makes them by a softmax or sigmoid; see `probabilities`.

    Returns:
        One ``Classification`` per input, its ``top`` best first; among equal scores the lower index comes first.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if the output is not [N, K], is not finite or does not fit ``labels``.
    """
    scores = probabilities(logits, are_probabilities=are_probabilities)
    if labels is not None and len(labels) != scores.shape[1]:
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED, f"The model returned {scores.shape[1]} classes but has {len(labels)} labels."
        )
    names = labels if labels is not None else [str(index) for index in range(scores.shape[1])]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    classifications = []
    for row, indices in zip(scores, order, strict=True):
        top = [ScoredLabel(index=int(i), label=names[i], score=min(float(row[i]), 1.0)) for i in indices]
        classifications.append(Classification(index=top[0].index, label=top[0].label, score=top[0].score, top=top))
    return classifications


def probabilities(logits: NDArray[Any], *, are_probabilities: bool = False) -> NDArray[np.float64]:
    """Return the softmax of logits; rows that already are probabilities (none negative, sum 1) are not changed.

    Args:
        logits: [N, K]; axes of length 1 after K are dropped.
        are_probabilities: Whether the network makes them by a softmax or sigmoid. Then they are not changed, whatever
            their sum is: a quantized softmax rounds small probabilities to 0.

    Returns:
        float64 [N, K]; each row sums to 1 unless ``are_probabilities``.

    Raises:
        FaceterError: ``INFERENCE_FAILED`` if the output is not [N, K] or is not finite.
    """
    values = np.asarray(logits, np.float64)
    if values.ndim < 2 or values.size != values.shape[0] * values.shape[1] or not values.shape[1]:
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED,
            f"A classifier's output must be [N, classes], but has shape {list(values.shape)}.",
        )
    values = values.reshape(values.shape[:2])
    if not np.isfinite(values).all():
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED, "The model returned values that are not finite (NaN or infinite)."
        )
    if are_probabilities:
        return values
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    already = (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE)
    return np.where(already[:, None], values, powers / powers.sum(axis=1, keepdims=True))

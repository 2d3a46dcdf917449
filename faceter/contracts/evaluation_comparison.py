"""Comparison of two evaluations."""

from typing import Any

from pydantic import Field

from faceter.contracts.base import Contract
from faceter.contracts.evaluations import Evaluation
from faceter.contracts.metrics import Metric


class Compared(Contract):
    """Values of one metric in two evaluations."""

    value: float = Field(examples=[0.97])
    """Value of the evaluation."""
    other: float = Field(examples=[0.91])
    """Value of the other evaluation."""
    difference: float = Field(examples=[0.06])
    """`value` − `other`."""
    better: bool | None = Field(examples=[True])
    """Whether the evaluation is better than the other; null if undecided: a density above 1, or overlapping
    intervals."""


class EvaluationComparison(Contract):
    """Comparison of two evaluations."""

    evaluation_id: str = Field(examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the evaluation."""
    other_id: str = Field(examples=["evl_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the other evaluation."""
    comparable: bool
    """Whether reference, features, N, M and k are equal. If not, the values cannot be compared."""
    differences: dict[str, list[Any]] = Field(examples=[{"generated_samples": [10000, 5000]}])
    """Properties that differ, with both values."""
    metrics: dict[Metric, Compared] = Field(default_factory=dict)
    """Metrics that both evaluations have; empty if they cannot be compared."""


COMPARED_BY = ("reference", "features", "reference_samples", "generated_samples", "k")
"""Properties that must be equal for the values of two evaluations to be comparable."""


def comparison_key(evaluation: Evaluation) -> dict[str, Any]:
    """Return the properties that must be equal for values to be comparable, by the names in `COMPARED_BY`."""
    features = evaluation.features
    feature_space = "as uploaded" if features.source == "dataset" else f"{features.tensor} of {features.model_sha256}"
    values = (
        evaluation.reference_sha256,
        feature_space,
        evaluation.reference_samples,
        evaluation.generated_samples,
        evaluation.k,
    )
    return dict(zip(COMPARED_BY, values, strict=True))

"""Two evaluations side by side: in what they differ, and which is better at what."""

from typing import Any

from faceter.contracts.evaluations import (
    Compared,
    Evaluation,
    EvaluationComparison,
    Metric,
    MetricValue,
    comparison_key,
)


def differences(evaluation: Evaluation, other: Evaluation) -> dict[str, list[Any]]:
    """Return where two evaluations do not agree in what must be equal for values to be compared: both, by its name."""
    ours, theirs = comparison_key(evaluation), comparison_key(other)
    return {name: [ours[name], theirs[name]] for name in ours if ours[name] != theirs[name]}


def compared(evaluation: Evaluation, other: Evaluation) -> EvaluationComparison:
    """Return two evaluations side by side; their values only if they can be compared."""
    differ = differences(evaluation, other)
    both = [metric for metric in evaluation.metrics if metric in other.metrics] if not differ else []
    return EvaluationComparison(
        evaluation_id=evaluation.id,
        other_id=other.id,
        comparable=not differ,
        differences=differ,
        metrics={metric: _compared(metric, evaluation.metrics[metric], other.metrics[metric]) for metric in both},
    )


def _compared(metric: Metric, ours: MetricValue, theirs: MetricValue) -> Compared:
    return Compared(
        value=ours.value,
        other=theirs.value,
        difference=ours.value - theirs.value,
        better=_better(metric, ours, theirs),
    )


def _better(metric: Metric, ours: MetricValue, theirs: MetricValue) -> bool | None:
    """Return whether the one is better, or None where there is no telling.

    A density above 1 says that samples crowd where real ones are dense, and is no better for it. KID is unbiased about
    0, so that a value below 0 is as good as 0. Intervals that overlap tell nothing; a value without one is its own.
    """
    if metric is Metric.DENSITY and max(ours.value, theirs.value) > 1:
        return None
    if metric is Metric.KID and max(ours.value, theirs.value) <= 0:
        return None
    (low, high), (their_low, their_high) = _interval(ours), _interval(theirs)
    if low <= their_high and their_low <= high:
        return None
    return (ours.value < theirs.value) is metric.smaller_is_better


def _interval(value: MetricValue) -> tuple[float, float]:
    low, high = value.interval or (value.value, value.value)
    return low, high

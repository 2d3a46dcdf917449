"""Comparison of two evaluations: whether they are comparable, and which is better by which metric."""

from typing import Any

from faceter.contracts.evaluation_comparison import Compared, EvaluationComparison, comparison_key
from faceter.contracts.evaluations import Evaluation, MetricValue
from faceter.contracts.metrics import Metric


def differences(evaluation: Evaluation, other: Evaluation) -> dict[str, list[Any]]:
    """Return the differing fields that must be equal for comparable values: name to both values."""
    ours, theirs = comparison_key(evaluation), comparison_key(other)
    return {name: [ours[name], theirs[name]] for name in ours if ours[name] != theirs[name]}


def compare_evaluations(evaluation: Evaluation, other: Evaluation) -> EvaluationComparison:
    """Return the comparison of two evaluations; with metrics only if they are comparable."""
    differing = differences(evaluation, other)
    common = [metric for metric in evaluation.metrics if metric in other.metrics] if not differing else []
    return EvaluationComparison(
        evaluation_id=evaluation.id,
        other_id=other.id,
        comparable=not differing,
        differences=differing,
        metrics={
            metric: _compare_metric(metric, evaluation.metrics[metric], other.metrics[metric]) for metric in common
        },
    )


def _compare_metric(metric: Metric, ours: MetricValue, theirs: MetricValue) -> Compared:
    return Compared(
        value=ours.value,
        other=theirs.value,
        difference=ours.value - theirs.value,
        better=_better(metric, ours, theirs),
    )


def _better(metric: Metric, ours: MetricValue, theirs: MetricValue) -> bool | None:
    """Return whether ``ours`` is better than ``theirs``, or None if undecided.

    A density above 1 means that samples concentrate where real ones are dense, which is not better. The estimate of KID
    is unbiased, so that a negative value is as good as 0. Values with overlapping intervals are undecided; a value
    without an interval is an interval of length 0.
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

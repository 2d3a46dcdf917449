"""Helpers for tests of runs with a target."""

import onnx

from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationReport, TradeOff, TradeOffPoint
from tests.workers.quantization.evaluation_data import SETTINGS, classifier
from tests.workers.quantization.networks import request_for
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import QuantizedModel, quantize

COUNT = 200
"""Samples of the evaluation data."""


def run_on(
    model: onnx.ModelProto, data: JobDatasets | None = None, metadata: ModelMetadata | None = None, **fields: object
) -> QuantizedModel:
    """Quantize a model, a classifier of digits unless metadata are given."""
    request = request_for(**fields)
    return quantize(model.SerializeToString(), metadata or classifier(), request, data or JobDatasets(), SETTINGS)


def trade_off_of(report: QuantizationReport) -> TradeOff:
    """Return the trade-off of a report, which must have one."""
    assert report.trade_off is not None
    return report.trade_off


def chosen(report: QuantizationReport) -> TradeOffPoint:
    """Return the chosen point."""
    trade_off = trade_off_of(report)
    return trade_off.points[trade_off.chosen]


def has_warning(report: QuantizationReport, words: str) -> bool:
    """Whether a warning of a report contains some words."""
    return any(words in warning for warning in report.warnings)


def assert_is_frontier(report: QuantizationReport) -> None:
    """Check that the points of a report are a Pareto frontier."""
    points = trade_off_of(report).points
    sizes = [point.weight_bytes for point in points]
    assert 20 < len(points) <= 130
    assert sizes == sorted(sizes)
    assert [point.sensitivity for point in points] == sorted((p.sensitivity for p in points), reverse=True)
    assert all(point.predicted is not None for point in points)
    assert set(points[0].bits.values()) == {2}

"""Reaching a target by mixed precision: met or not, measured on what may be looked at, and on nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from redis import Redis

from app.models import summary
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.jobs import QuantizationJob, Training
from faceter.contracts.models import ModelMetadata
from faceter.contracts.quantizations import QuantizationMethod, QuantizationReport, TradeOff, TradeOffPoint
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import AnyDataset, open_dataset
from faceter.graphs.check import load_model
from faceter.graphs.packing import pack_weights, weight_bytes
from faceter.graphs.qdq import write_qdq
from faceter.store.library import Library
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.networks import PREPROCESSING, Digits, accuracy, one_thread, outputs_of, request_for
from tests.workers.quantization.test_job import started, stored_dataset, stored_model
from tests.workers.quantization.test_pipeline import SETTINGS, classifier, digits_zip, evaluating
from workers.quantization.data import Data
from workers.quantization.methods import tuned_methods
from workers.quantization.pipeline import Quantized, prepare, quantize, quantize_model
from workers.quantization.prepared import Prepared
from workers.quantization.target import reach
from workers.quantization.tuned import TunedOutcome
from workers.quantization.tuning.loop import Hooks, NoHooks

COUNT = 200


@pytest.fixture(autouse=True, scope="module")
def _threads() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def evaluation(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyDataset]:
    path = digits_zip(tmp_path_factory.mktemp("evaluation"), digits, count=COUNT)
    with open_dataset(path, DatasetKind.IMAGES, SETTINGS) as data:
        yield data


def run_on(
    model: onnx.ModelProto,
    data: Data | None = None,
    hooks: Hooks | None = None,
    metadata: ModelMetadata | None = None,
    **fields: object,
) -> Quantized:
    request = request_for(**fields)
    return quantize(
        model.SerializeToString(), metadata or classifier(), request, data or Data(), SETTINGS, hooks=hooks
    )


def trade_off_of(report: QuantizationReport) -> TradeOff:
    assert report.trade_off is not None
    return report.trade_off


def chosen(report: QuantizationReport) -> TradeOffPoint:
    trade_off = trade_off_of(report)
    return trade_off.points[trade_off.chosen]


def said(report: QuantizationReport, words: str) -> bool:
    return any(words in note for note in report.notes)


@pytest.fixture(scope="module")
def within_bytes(digits: Digits) -> Quantized:
    return run_on(digits.model, target={"max_bytes": 1300}, max_steps=24)


@pytest.fixture(scope="module")
def within_drop(digits: Digits, evaluation: AnyDataset) -> Quantized:
    return run_on(digits.model, evaluating(evaluation), target={"max_drop": 2.0}, max_steps=40)


def test_the_weights_in_the_stored_file_fit(within_bytes: Quantized) -> None:
    report = within_bytes.report
    stored = weight_bytes(load_model(within_bytes.content, max_bytes=SETTINGS.max_model_bytes))
    assert stored == report.size.weights_packed <= 1300
    trade_off = trade_off_of(report)
    assert trade_off.met
    larger = [point.weight_bytes for point in trade_off.points if point.weight_bytes > chosen(report).weight_bytes]
    assert min(larger) > 1300, "the largest that fits"
    assert said(report, "The target is met: weights take")


def test_each_weight_has_the_bits_of_the_chosen_point(within_bytes: Quantized) -> None:
    report = within_bytes.report
    weights = {tensor.tensor: tensor.bits for tensor in report.tensors if tensor.role == "weight"}
    assert weights == chosen(report).bits
    assert len(set(weights.values())) > 1
    for tensor in report.tensors:
        assert tensor.role != "activation" or tensor.bits == 8
    assert said(report, f"have from {min(weights.values())} to {max(weights.values())} bits each")


def test_the_tuned_network_is_the_one_that_is_served(within_bytes: Quantized, digits: Digits) -> None:
    """What the report says of agreement on held-out inputs holds for the file in ONNX Runtime, on inputs like them."""
    report = within_bytes.report
    assert report.tuning is not None
    assert report.tuning.kept_step > 0
    assert chosen(report).tuned
    assert within_bytes.made.held_out is not None
    inputs = within_bytes.made.held_out
    model = load_model(within_bytes.content, max_bytes=SETTINGS.max_model_bytes)
    same = outputs_of(model, inputs).argmax(1) == outputs_of(digits.model, inputs).argmax(1)
    assert float(same.mean()) == pytest.approx(chosen(report).measured or 0.0, abs=0.02)
    assert accuracy(outputs_of(model, digits.pictures), digits.classes) > 0.8


def test_the_curve_holds_what_can_be_had(within_bytes: Quantized, within_drop: Quantized) -> None:
    for made in (within_bytes, within_drop):
        points = trade_off_of(made.report).points
        sizes = [point.weight_bytes for point in points]
        assert 20 < len(points) <= 130
        assert sizes == sorted(sizes)
        assert [point.sensitivity for point in points] == sorted((p.sensitivity for p in points), reverse=True)
        assert all(point.predicted is not None for point in points)
        assert set(points[0].bits.values()) == {2}


def test_bytes_that_cannot_be_met_end_with_the_smallest(digits: Digits) -> None:
    report = run_on(digits.model, target={"max_bytes": 200}, max_steps=8).report
    assert not trade_off_of(report).met
    assert set(chosen(report).bits.values()) == {2}
    assert said(report, "The target is not met")


def test_evaluation_data_choose_nothing_where_bytes_are_asked_for(
    digits: Digits, evaluation: AnyDataset, tmp_path: Path
) -> None:
    wrong = Digits(digits.model, digits.model, digits.calibration, digits.pictures, (digits.classes + 1) % 10)
    with open_dataset(digits_zip(tmp_path, wrong, count=COUNT), DatasetKind.IMAGES, SETTINGS) as mislabelled:
        first, other = (
            run_on(digits.model, evaluating(data), target={"max_bytes": 1300}, max_steps=16)
            for data in (evaluation, mislabelled)
        )
    assert first.content == other.content
    assert trade_off_of(first.report).measure == trade_off_of(other.report).measure == "accuracy"
    assert trade_off_of(first.report).original > 0.9
    assert trade_off_of(other.report).original < 0.1


def test_a_drop_is_met_on_the_evaluation_data(within_drop: Quantized, digits: Digits) -> None:
    report = within_drop.report
    trade_off = trade_off_of(report)
    (quality,) = report.quality
    assert trade_off.measure == "accuracy"
    assert trade_off.met
    assert (trade_off.original, chosen(report).measured) == (quality.before, quality.after)
    assert quality.before - quality.after <= 0.02 + 1e-9
    answers = outputs_of(load_model(within_drop.content, max_bytes=SETTINGS.max_model_bytes), digits.pictures[:COUNT])
    assert accuracy(answers, digits.classes[:COUNT]) == pytest.approx(quality.after, abs=0.02)
    assert report.size.weights_packed < 0.7 * trade_off.points[-1].weight_bytes
    met = [p.weight_bytes for p in trade_off.points if p.measured and quality.before - p.measured <= 0.02 + 1e-9]
    assert min(met) == chosen(report).weight_bytes, "the smallest of those measured"
    assert said(report, f"on {COUNT} samples of the evaluation data. So the choice has seen these")


def test_the_evaluation_data_are_measured_on_and_not_tuned_on(
    within_drop: Quantized, digits: Digits, tmp_path: Path
) -> None:
    """In another order they give the same accuracies, but would give other batches."""
    order = np.arange(COUNT)[::-1]
    reversed_digits = Digits(digits.model, digits.model, digits.calibration, digits.pictures[order], digits.classes[order])
    with open_dataset(digits_zip(tmp_path, reversed_digits, count=COUNT), DatasetKind.IMAGES, SETTINGS) as data:
        other = run_on(digits.model, evaluating(data), target={"max_drop": 2.0}, max_steps=40)
    assert other.content == within_drop.content
    assert other.report.trade_off == within_drop.report.trade_off
    assert within_drop.made.synthetic is not None
    assert within_drop.made.synthetic.shape[1:] == (1, 8, 8)


def test_a_drop_that_cannot_be_met_ends_with_the_best(digits: Digits, evaluation: AnyDataset) -> None:
    """One scale for each tensor of badly scaled weights loses more at 8 bits than a few steps win back."""
    report = run_on(
        digits.badly_scaled,
        evaluating(evaluation),
        target={"max_drop": 0.1},
        weight_granularity="tensor",
        method="zeroq",
        max_steps=12,
    ).report
    trade_off = trade_off_of(report)
    assert not trade_off.met
    assert report.quality[0].before - report.quality[0].after > 0.001
    assert chosen(report).measured == max(point.measured or 0.0 for point in trade_off.points)
    assert said(report, "This is the best that was found")


def test_without_evaluation_data_it_is_an_estimate(digits: Digits) -> None:
    made = run_on(digits.model, target={"max_drop": 5.0}, max_steps=32)
    report = made.report
    trade_off = trade_off_of(report)
    assert (trade_off.measure, trade_off.original) == ("agreement", 1.0)
    assert report.agreement.source == "synthetic"
    assert chosen(report).measured == report.agreement.top1
    assert trade_off.met == ((report.agreement.top1 or 0.0) >= 0.95 - 1e-9)
    assert said(report, "synthetic inputs that were held out. This is an estimate")
    held_out, synthetic = made.made.held_out, made.made.synthetic
    assert held_out is not None
    assert synthetic is not None
    assert len(held_out) == report.agreement.samples == len(synthetic) / 4


def test_ft_is_weighed_and_tuned_on_the_calibration_data_and_measured_on_others_of_them(
    digits: Digits, evaluation: AnyDataset
) -> None:
    made = run_on(
        digits.model, Data(calibration=evaluation), method="ft", target={"max_drop": 4.0}, max_steps=24,
        calibration_dataset="dts_test",
    )  # fmt: skip
    report = made.report
    assert report.tuning is not None
    assert report.tuning.path == "the calibration data"
    assert report.agreement.source == "calibration"
    assert report.agreement.samples == COUNT / 4
    assert said(report, f"measured on {COUNT} calibration inputs")
    assert made.made.synthetic is None


@pytest.mark.parametrize("method", ["zeroq", "gdfq", "zaq"])
def test_other_methods_tune_mixed_networks_too(method: str, digits: Digits) -> None:
    report = run_on(digits.model, method=method, target={"max_bytes": 1100}, max_steps=24).report
    assert trade_off_of(report).met
    assert report.size.weights_packed <= 1100
    assert {tensor.tensor: tensor.bits for tensor in report.tensors if tensor.role == "weight"} == chosen(report).bits
    assert report.tuning is not None
    assert report.tuning.steps == 24
    assert [phase.name for phase in report.tuning.phases][:2] == ["synthesis", "sensitivity"]
    assert report.tuning.path == tuned_methods[QuantizationMethod(method)].trainer.__annotations__ or report.tuning.path


def test_a_network_whose_inputs_cannot_be_made_is_rounded(tmp_path: Path) -> None:
    net = GraphBuilder(["n", 16], name="left")
    net.graph_inputs = []  # type: ignore[attr-defined]

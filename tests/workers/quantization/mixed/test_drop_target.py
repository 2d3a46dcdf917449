"""Targets in lost accuracy: the smallest network within the allowed drop, measured on the right data."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from faceter.contracts.models import ModelMetadata
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import InputDataset
from faceter.graphs.check import load_model
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.evaluation_data import SETTINGS, digits_zip, evaluating
from tests.workers.quantization.mixed.targets import (
    COUNT,
    assert_is_frontier,
    chosen,
    has_warning,
    run_on,
    trade_off_of,
)
from tests.workers.quantization.networks import Digits, accuracy, outputs_of
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import QuantizedModel


@pytest.fixture(scope="module")
def within_drop(digits: Digits, evaluation: InputDataset) -> QuantizedModel:
    return run_on(digits.model, evaluating(evaluation), target={"max_drop": 2.0}, max_steps=24)


def test_a_drop_is_met_on_the_evaluation_data(within_drop: QuantizedModel, digits: Digits) -> None:
    report = within_drop.report
    trade_off = trade_off_of(report)
    (quality,) = report.quality
    assert trade_off.measure == "accuracy"
    assert trade_off.met
    assert (trade_off.original, chosen(report).measured) == (quality.before, quality.after)
    assert quality.before - quality.after <= 0.02 + 1e-9
    answers = outputs_of(
        load_model(within_drop.exported.content, max_bytes=SETTINGS.max_model_bytes), digits.images[:COUNT]
    )
    assert accuracy(answers, digits.classes[:COUNT]) == pytest.approx(quality.after, abs=0.02)
    assert report.size.weights_packed < 0.7 * trade_off.points[-1].weight_bytes
    met = [p.weight_bytes for p in trade_off.points if p.measured and quality.before - p.measured <= 0.02 + 1e-9]
    assert min(met) == chosen(report).weight_bytes, "the smallest of those measured"
    assert has_warning(report, f"on {COUNT} samples of the evaluation data. So the choice depends on these")


def test_the_report_has_the_frontier(within_drop: QuantizedModel) -> None:
    assert_is_frontier(within_drop.report)


def test_candidates_are_measured_but_not_tuned_on_the_evaluation_data(
    within_drop: QuantizedModel, digits: Digits, tmp_path: Path
) -> None:
    """In another order they give the same accuracies, but would give other batches."""
    order = np.arange(COUNT)[::-1]
    reversed_digits = Digits(
        digits.model, digits.model, digits.calibration, digits.images[order], digits.classes[order]
    )
    with ImagesDataset.open(digits_zip(tmp_path, reversed_digits, count=COUNT), SETTINGS) as data:
        other = run_on(digits.model, evaluating(data), target={"max_drop": 2.0}, max_steps=24)
    assert other.exported.content == within_drop.exported.content
    assert other.report.trade_off == within_drop.report.trade_off
    assert within_drop.optimized.synthetic is not None
    assert within_drop.optimized.synthetic.shape[1:] == (1, 8, 8)


def test_the_best_network_is_returned_if_the_drop_cannot_be_met(digits: Digits, evaluation: InputDataset) -> None:
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
    assert has_warning(report, "This is the best network measured")


def test_without_evaluation_data_the_drop_is_an_estimate(digits: Digits) -> None:
    made = run_on(digits.model, target={"max_drop": 5.0}, max_steps=16)
    report = made.report
    trade_off = trade_off_of(report)
    assert (trade_off.measure, trade_off.original) == ("agreement", 1.0)
    assert report.agreement.source == "synthetic"
    assert chosen(report).measured == report.agreement.top1
    assert trade_off.met == ((report.agreement.top1 or 0.0) >= 0.95 - 1e-9)
    assert has_warning(report, "held-out synthetic inputs. This is an estimate")
    held_out, synthetic = made.optimized.held_out, made.optimized.synthetic
    assert held_out is not None
    assert synthetic is not None
    assert len(held_out.values) == report.agreement.samples == len(synthetic) / 4


def test_ft_uses_disjoint_calibration_data_for_tuning_and_measuring(digits: Digits, evaluation: InputDataset) -> None:
    made = run_on(
        digits.model, JobDatasets(calibration=evaluation), method="ft", target={"max_drop": 4.0}, max_steps=10,
        calibration_dataset_id="dts_test",
    )  # fmt: skip
    report = made.report
    assert report.tuning is not None
    assert report.tuning.path == "the calibration data"
    assert report.agreement.source == "calibration"
    assert report.agreement.samples == COUNT / 4
    assert has_warning(report, f"measured on {COUNT} calibration inputs")
    assert made.optimized.synthetic is None


def test_a_network_of_two_inputs_meets_a_target() -> None:
    net = GraphBuilder(["n", 16], name="left")
    net.inputs.append(onnx.helper.make_tensor_value_info("right", onnx.TensorProto.FLOAT, ["n", 16]))
    for name in ("left", "right"):
        net.add("Gemm", name, net.weight(64, 16), net.weight(64), transB=1)
        net.add("Relu", output=f"{name}/relu")
    net.add("Add", "left/relu", "right/relu")
    net.add("Gemm", net.last, net.weight(10, 64), net.weight(10), transB=1)
    model = net.build()
    for target in ({"max_drop": 8.0}, {"max_bytes": 1500}):
        report = run_on(model, metadata=ModelMetadata(), target=target, max_steps=10).report
        assert report.tuning is not None
        assert report.tuning.steps == 10
        assert trade_off_of(report).met
        assert len(set(chosen(report).bits.values())) > 1
        assert report.agreement.source == "synthetic"

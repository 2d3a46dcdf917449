"""Targets in bytes: the largest bit allocation that fits, tuned."""

from pathlib import Path

import numpy as np
import pytest

from faceter.contracts.quantizations import QuantizationMethod, Target
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import InputDataset
from faceter.graphs.check import load_model
from faceter.graphs.packing import pack_weights, weight_bytes
from faceter.graphs.qdq import write_qdq
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
from tests.workers.quantization.networks import Digits, accuracy, outputs_of, request_for
from tests.workers.quantization.tuning.light_methods import IMAGES, light, prepared_for
from workers.quantization.datasets import JobDatasets
from workers.quantization.mixed.allocation import allocate_bits
from workers.quantization.mixed.bit_allocation import with_weight_bits
from workers.quantization.mixed.trade_off import AllocationResult
from workers.quantization.pipeline import QuantizedModel
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning_accuracy import tuning_accuracy
from workers.training.callbacks import Callbacks


@pytest.fixture(scope="module")
def within_bytes(digits: Digits) -> QuantizedModel:
    return run_on(digits.model, target={"max_bytes": 1300}, max_steps=24)


def test_the_weights_in_the_exported_file_fit(within_bytes: QuantizedModel) -> None:
    report = within_bytes.report
    stored = weight_bytes(load_model(within_bytes.exported.content, max_bytes=SETTINGS.max_model_bytes))
    assert stored == report.size.weights_packed <= 1300
    trade_off = trade_off_of(report)
    assert trade_off.met
    larger = [point.weight_bytes for point in trade_off.points if point.weight_bytes > chosen(report).weight_bytes]
    assert min(larger) > 1300, "the largest that fits"
    assert has_warning(report, "The target is met: weights take")


def test_each_weight_has_the_bits_of_the_chosen_point(within_bytes: QuantizedModel) -> None:
    report = within_bytes.report
    weights = {tensor.tensor: tensor.bits for tensor in report.tensors if tensor.role == "weight"}
    assert weights == chosen(report).bits
    assert len(set(weights.values())) > 1
    for tensor in report.tensors:
        assert tensor.role != "activation" or tensor.bits == 8
    assert has_warning(report, f"have from {min(weights.values())} to {max(weights.values())} bits each")


def test_the_tuned_network_is_the_one_that_is_served(within_bytes: QuantizedModel, digits: Digits) -> None:
    """What the report says of agreement on held-out inputs holds for the file in ONNX Runtime, on inputs like them."""
    report = within_bytes.report
    assert report.tuning is not None
    assert report.tuning.kept_step > 0
    assert chosen(report).tuned
    assert within_bytes.optimized.held_out is not None
    inputs = within_bytes.optimized.held_out.values
    model = load_model(within_bytes.exported.content, max_bytes=SETTINGS.max_model_bytes)
    same = outputs_of(model, inputs).argmax(1) == outputs_of(digits.model, inputs).argmax(1)
    assert float(same.mean()) == pytest.approx(chosen(report).measured or 0.0, abs=0.02)
    assert accuracy(outputs_of(model, digits.images), digits.classes) > 0.8


def test_the_report_has_the_frontier(within_bytes: QuantizedModel) -> None:
    assert_is_frontier(within_bytes.report)


def test_the_smallest_network_is_returned_if_none_fits(digits: Digits) -> None:
    report = run_on(digits.model, target={"max_bytes": 200}, max_steps=4).report
    assert not trade_off_of(report).met
    assert set(chosen(report).bits.values()) == {2}
    assert has_warning(report, "The target is not met")


def test_evaluation_data_have_no_influence_on_a_byte_target(
    digits: Digits, evaluation: InputDataset, tmp_path: Path
) -> None:
    wrong = Digits(digits.model, digits.model, digits.calibration, digits.images, (digits.classes + 1) % 10)
    with ImagesDataset.open(digits_zip(tmp_path, wrong, count=COUNT), SETTINGS) as mislabelled:
        first, other = (
            run_on(digits.model, evaluating(data), target={"max_bytes": 1300}, max_steps=8)
            for data in (evaluation, mislabelled)
        )
    assert first.exported.content == other.exported.content
    assert trade_off_of(first.report).measure == trade_off_of(other.report).measure == "accuracy"
    assert trade_off_of(first.report).original > 0.9
    assert trade_off_of(other.report).original < 0.1


@pytest.mark.parametrize("method", ["zeroq", "gdfq", "zaq"])
def test_other_methods_tune_mixed_networks_too(method: str, digits: Digits) -> None:
    report = run_on(digits.model, method=method, target={"max_bytes": 1100}, max_steps=16).report
    assert trade_off_of(report).met
    assert report.size.weights_packed <= 1100
    assert {tensor.tensor: tensor.bits for tensor in report.tensors if tensor.role == "weight"} == chosen(report).bits
    assert report.tuning is not None
    assert report.tuning.steps == 16
    assert [phase.name for phase in report.tuning.phases][:2] == ["synthesis", "sensitivity"]


def test_packed_weights_that_take_more_than_estimated_are_made_to_fit() -> None:
    """A weight of zeros needs only one bit, and unpacking it takes more bytes than its codes save."""
    net = GraphBuilder(["n", 3, 16, 16], name="image")
    net.conv(8, 3)
    trunk = net.add("Relu")
    net.add("Conv", trunk, net.constant(np.zeros((8, 8, 1, 1), np.float32), "nothing"))
    net.add("Add", net.last, trunk)
    net.add("GlobalAveragePool")
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(5, 8), net.weight(5), transB=1)
    prepared = prepared_for(net.build(), IMAGES)

    def within(most: int) -> tuple[AllocationResult, int]:
        target = Target(max_bytes=most)
        request = request_for(target=target, max_steps=2)
        made = allocate_bits(
            light(QuantizationMethod.AUTO),
            prepared,
            request,
            target,
            JobDatasets(),
            Callbacks(),
            tuning_accuracy(None, prepared),
        )
        assert made.allocation is not None
        return made.allocation, weight_bytes(pack_weights(write_qdq(made.plan)))

    free, _ = within(10_000)
    base = RawQuantization()(prepared, request_for()).plan
    sizes = [weight_bytes(pack_weights(write_qdq(with_weight_bits(base, point.bits)))) for point in free.frontier]
    more = [index for index, size in enumerate(sizes) if index and size > free.frontier[index].weight_bytes]
    assert more
    for index in (more[-1], more[len(more) // 2]):
        limit = free.frontier[index].weight_bytes
        found, size = within(limit)
        assert size <= limit
        assert found.choice.index < index

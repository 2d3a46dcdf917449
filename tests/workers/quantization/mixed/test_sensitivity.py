"""Ω against a slow version: the weight replaced in the graph, the graph run by ONNX Runtime, sums one by one."""

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from tests.graphs.builders import GraphBuilder, run
from tests.references.mixed_precision import isotonic_error, mean_kl, relative_squared_error
from tests.workers.quantization.mixed.networks import classifier_plan, images, plan_of, two_headed, with_value
from tests.workers.quantization.networks import Digits, one_thread
from workers.quantization.aciq import clipped_channels, clipped_tensor
from workers.quantization.mixed.isotonic import isotonic_regression
from workers.quantization.mixed.sensitivity import Inputs, measure_sensitivities
from workers.quantization.rq import weight_of


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def with_quantized(plan: QuantizationPlan, name: str, bits: int) -> onnx.ModelProto:
    """Return the float model with one weight quantized."""
    weight = weight_of(GraphView(plan.model), name)
    axis = plan.weights[name].axis
    if axis is None:
        return with_value(plan.model, name, clipped_tensor(weight, bits).fake(weight))
    flat = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    return with_value(
        plan.model, name, clipped_channels(flat, np.full(len(flat), bits), axis).fake(weight).astype(np.float32)
    )


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_sensitivity_of_a_classifier_is_the_mean_divergence_of_its_probabilities(granularity: str) -> None:
    plan = classifier_plan(granularity)
    inputs = images(21)
    batches: list[Inputs] = [{"image": inputs[:9]}, {"image": torch.from_numpy(inputs[9:])}]
    measured = measure_sensitivities(plan, batches, classes="logits", bits=(2, 5))
    assert list(measured.divergence) == [site.name for site in plan.sites.weights]
    assert measured.samples == 21
    [expected] = run(plan.model, image=inputs)
    for name, by_bits in measured.divergence.items():
        for bits, omega in by_bits.items():
            [answers] = run(with_quantized(plan, name, bits), image=inputs)
            assert omega == pytest.approx(mean_kl(expected, answers), rel=1e-3, abs=1e-9)
            assert measured.agreement[name][bits] == (answers.argmax(1) == expected.argmax(1)).mean()


def test_probabilities_are_recognized() -> None:
    model = classifier_plan().model
    probable = onnx.ModelProto()
    probable.CopyFrom(model)
    probable.graph.node.append(onnx.helper.make_node("Softmax", ["logits"], ["p"], axis=1))
    probable.graph.output[0].name = "p"
    batches = [{"image": images(8)}]
    plain = measure_sensitivities(plan_of(model), batches, classes="logits", bits=(3,))
    same = measure_sensitivities(plan_of(probable), batches, classes="p", bits=(3,))
    for name, by_bits in plain.divergence.items():
        assert same.divergence[name][3] == pytest.approx(by_bits[3], rel=1e-3, abs=1e-7)


def test_sensitivity_of_other_networks_is_the_relative_squared_error_of_each_float_output() -> None:
    plan = plan_of(two_headed())
    inputs = images(6)
    measured = measure_sensitivities(plan, [{"image": inputs[:4]}, {"image": inputs[4:]}], classes=None, bits=(3,))
    expected = run(plan.model, "boxes", "mask", image=inputs)
    assert len(measured.divergence) == 3
    for name, by_bits in measured.divergence.items():
        answers = run(with_quantized(plan, name, 3), "boxes", "mask", image=inputs)
        omega = relative_squared_error(expected, answers)
        assert by_bits[3] == pytest.approx(omega, rel=1e-3)
        assert measured.agreement[name][3] == pytest.approx(1 - omega**0.5, rel=1e-3)


def test_the_entering_activation_can_be_quantized_too(digits: Digits) -> None:
    plan = plan_of(digits.model)
    batches = [{"image": digits.images[:100]}]
    output = digits.model.graph.output[0].name
    alone = measure_sensitivities(plan, batches, classes=output, bits=(3, 8))
    both = measure_sensitivities(plan, batches, classes=output, bits=(3, 8), with_inputs=True)
    for name, by_bits in both.divergence.items():
        assert by_bits[3] > 0.8 * alone.divergence[name][3], "two errors may cancel in part"
        assert by_bits[8] < 0.05
    assert sum(by_bits[3] for by_bits in both.divergence.values()) > sum(
        by_bits[3] for by_bits in alone.divergence.values()
    )
    assert both.together[3] < alone.together[3] < both.together[8]


def test_all_together_is_the_quantized_network(digits: Digits) -> None:
    plan = plan_of(digits.model, activation_bits=4)
    batches = [{"image": digits.images[:100]}]
    measured = measure_sensitivities(plan, batches, classes=digits.model.graph.output[0].name, bits=(2, 4, 8))
    assert measured.together[2] < measured.together[4] < measured.together[8] < 1
    for name, by_bits in measured.divergence.items():
        assert by_bits[2] > by_bits[4] > by_bits[8], name
    uniform = {k: measured.total(dict.fromkeys(measured.divergence, k)) for k in (2, 4, 8)}
    for bits, total in uniform.items():
        assert measured.predict(total) == pytest.approx(measured.together[bits])
    totals = np.geomspace(uniform[8] / 10, uniform[2] * 10, 50)
    predicted = [measured.predict(float(total)) for total in totals]
    assert all(np.diff(predicted) <= 0)
    assert predicted[0] == measured.together[8]
    assert predicted[-1] == measured.together[2]
    assert measured.predict(0.0) == measured.together[8]


def test_samples_are_bounded_and_runs_are_equal() -> None:
    plan = classifier_plan()
    batches = [{"image": images(70)}, {"image": images(70, seed=1)}]
    fractions: list[float] = []
    first = measure_sensitivities(plan, batches, classes="logits", bits=(3,), max_samples=75, progress=fractions.append)
    assert first.samples == 75
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    again = measure_sensitivities(plan, batches, classes="logits", bits=(3,), max_samples=75)
    assert first == again
    small = [{"image": part} for part in np.split(np.concatenate([batch["image"] for batch in batches])[:75], 5)]
    cut = measure_sensitivities(plan, small, classes="logits", bits=(3,))
    for name, by_bits in first.divergence.items():
        assert cut.divergence[name][3] == pytest.approx(by_bits[3], rel=1e-4)


def test_a_fixed_batch_is_kept() -> None:
    net = GraphBuilder([2, 3, 16, 16], name="image")
    net.conv(4, 3)
    net.add("GlobalAveragePool")
    net.add("Reshape", net.last, net.constant(np.array([2, 4])), output="logits")
    plan = plan_of(net.build())
    batches = [{"image": images(2, seed)} for seed in range(3)]
    assert measure_sensitivities(plan, batches, classes="logits", bits=(2,), max_samples=3).samples == 4


def test_nothing_to_measure_is_an_error() -> None:
    plan = classifier_plan()
    with pytest.raises(ValueError, match="nothing to measure"):
        measure_sensitivities(plan, [], classes="logits")
    with pytest.raises(ValueError, match="nothing to measure"):
        measure_sensitivities(plan, [{"image": images(2)}], classes="logits", bits=())


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    plan = classifier_plan()
    with pytest.raises(FaceterError, match="'logits' is not finite"):
        measure_sensitivities(plan, [{"image": images(2) * np.float32(np.nan)}], classes="logits", bits=(2,))
    silent = with_value(plan.model, "classifier", np.zeros((5, 12), np.float32))
    last = silent.graph.node[-1].input[2]
    silent = with_value(silent, last, np.zeros(5, np.float32))
    with pytest.raises(FaceterError, match="nothing but zeros"):
        measure_sensitivities(plan_of(silent), [{"image": images(2)}], classes=None, bits=(2,))


@given(st.lists(st.integers(0, 3).map(float), min_size=1, max_size=5))
def test_isotonic_regression_is_the_nearest_non_decreasing_sequence(values: list[float]) -> None:
    fitted = isotonic_regression(np.array(values))
    assert all(np.diff(fitted) >= 0)
    means = {sum(values[a:b]) / (b - a) for a in range(len(values)) for b in range(a + 1, len(values) + 1)}
    assert np.square(fitted - values).sum() == pytest.approx(isotonic_error(values, sorted(means)))

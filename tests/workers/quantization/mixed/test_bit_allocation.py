"""Bit allocation: plans with different bits per weight are clipped, written, packed, served and reported as others."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.graphs.layouts import PLAIN
from faceter.graphs.packing import pack_weights, packed_bytes, unpack_weights, weight_bytes
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from tests.graphs.builders import constants
from tests.workers.quantization.mixed.networks import classifier_plan, plan_of
from tests.workers.quantization.networks import Digits, accuracy, one_thread, outputs_of, prepared_for, request_for
from workers.quantization.aciq import ACIQ
from workers.quantization.energy import estimate_energy
from workers.quantization.export import export
from workers.quantization.mixed.bit_allocation import weight_shapes, with_weight_bits
from workers.quantization.mixed.frontier_search import choose_by_bytes
from workers.quantization.mixed.pareto import packed_frontier
from workers.quantization.mixed.sensitivity import measure_sensitivities
from workers.quantization.prepare import FloatModel
from workers.quantization.report import size_of
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.tensor_reports import tensor_reports

CHOICES = [2, 3, 4, 5, 6, 7, 8]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def in_turn(plan: QuantizationPlan) -> dict[str, int]:
    """Return 2 to 8 bits for the weights of a plan in turn."""
    return {name: CHOICES[index % len(CHOICES)] for index, name in enumerate(plan.weights)}


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_weights_named_are_clipped_by_aciqs_own_code_and_others_stay(granularity: str) -> None:
    plan = classifier_plan(granularity)
    bits = dict(list(in_turn(plan).items())[1:])
    mixed = with_weight_bits(plan, bits)
    assert mixed.model is plan.model
    assert mixed.activations == plan.activations
    first = next(iter(plan.weights))
    assert mixed.weights[first] is plan.weights[first]
    clipping = ACIQ(allocate=False, correct_weights=False)
    for name, count in bits.items():
        request = request_for(weight_bits=count, weight_granularity=granularity)
        expected = clipping(prepared_for(plan.model), request).plan.weights[name]
        made = mixed.weights[name]
        assert made.bits == count
        assert made.channel_bits is None
        assert made.axis == plan.weights[name].axis
        np.testing.assert_array_equal(made.scale, expected.scale)
        np.testing.assert_array_equal(made.zero_point, expected.zero_point)


def test_an_unknown_weight_is_an_error() -> None:
    with pytest.raises(KeyError):
        with_weight_bits(classifier_plan(), {"nothing": 4})


@settings(max_examples=15)
@given(st.data())
def test_the_packed_file_takes_the_predicted_bytes(data: st.DataObject) -> None:
    plan = classifier_plan()
    shapes = weight_shapes(plan)
    bits = {name: data.draw(st.sampled_from(CHOICES)) for name in shapes}
    mixed = with_weight_bits(plan, bits)
    predicted = packed_bytes(shapes, bits)
    codes = {name: quantizer.quantize(constants(plan.model)[name]) for name, quantizer in mixed.weights.items()}
    needed = {name: next(b for b in range(1, 9) if values.min() >= -(2 ** (b - 1)) and values.max() < 2 ** (b - 1))
              for name, values in codes.items()}  # fmt: skip
    packed = weight_bytes(pack_weights(write_qdq(mixed)))
    if needed == bits:
        assert packed == predicted
    assert packed <= predicted + 70


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_a_mixed_plan_is_served_as_it_was_simulated(digits: Digits, granularity: str) -> None:
    """From bits by layer to ONNX Runtime's answers on the packed file."""
    plan = plan_of(digits.model, granularity)
    mixed = with_weight_bits(plan, {name: max(bits, 4) for name, bits in in_turn(plan).items()})
    written = write_qdq(mixed)
    packed = pack_weights(written)
    for name, value in constants(unpack_weights(packed)).items():
        np.testing.assert_array_equal(value, constants(written)[name])
    answers = outputs_of(packed, digits.images)
    [simulated] = SimulatedNetwork(mixed).run({"image": digits.images}).values()
    assert (answers.argmax(1) == simulated.argmax(1)).mean() > 0.99
    assert np.abs(answers - simulated).mean() < 0.02 * np.abs(simulated).mean()


def test_the_report_has_the_bits_of_each_weight_and_the_sum_of_bytes_and_energy(digits: Digits) -> None:
    plan = plan_of(digits.model)
    bits = in_turn(plan)
    mixed, low, high = (with_weight_bits(plan, each) for each in (bits, dict.fromkeys(bits, 2), dict.fromkeys(bits, 8)))
    reported = {item.tensor: item.bits for item in tensor_reports(mixed, []) if item.role == "weight"}
    assert reported == bits
    joules = [estimate_energy(digits.model, each).after_joules for each in (low, mixed, high)]
    assert joules[0] < joules[1] < joules[2]
    original = FloatModel(digits.model.SerializeToString(), digits.model)
    sizes = [size_of(original, each, export(each), PLAIN).weights_packed for each in (low, mixed, high)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_bits_chosen_by_sensitivity_beat_equal_bits_of_the_same_size(digits: Digits) -> None:
    """More accuracy at equal bytes than with one number of bits for every layer."""
    plan = plan_of(digits.model)
    shapes = weight_shapes(plan)
    calibration = [{"image": digits.calibration}]
    measured = measure_sensitivities(plan, calibration, classes=digits.model.graph.output[0].name)
    frontier = packed_frontier(shapes, measured.divergence, predict=measured.predict)
    scores: list[tuple[float, float]] = []
    for bits in (3, 4):
        uniform = dict.fromkeys(shapes, bits)
        choice = choose_by_bytes(frontier, packed_bytes(shapes, uniform))
        assert choice.met
        chosen = frontier[choice.index]
        assert chosen.weight_bytes <= packed_bytes(shapes, uniform)
        assert chosen.sensitivity < 0.75 * measured.total(uniform)
        plans = [with_weight_bits(plan, each) for each in (uniform, chosen.bits)]
        before, after = (outputs_of(pack_weights(write_qdq(each)), digits.images) for each in plans)
        scores.append((accuracy(before, digits.classes), accuracy(after, digits.classes)))
    gains = [better - equal for equal, better in scores]
    assert gains[0] > 0, scores
    assert sum(gains) > 0, scores

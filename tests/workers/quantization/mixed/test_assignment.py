"""Plans of mixed precision: clipped as ever, written, packed, served and reported as any other."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.graphs.packing import pack_weights, packed_bytes, unpack_weights, weight_bytes
from faceter.graphs.qdq import QuantizationPlan, write_qdq
from tests.graphs.builders import constants
from tests.workers.quantization.mixed.networks import classifier_plan, plan_of
from tests.workers.quantization.networks import Digits, accuracy, one_thread, outputs_of, prepared_for, request_for
from workers.quantization import report
from workers.quantization.aciq import AnalyticClipping
from workers.quantization.mixed.assignment import weight_shapes, with_weight_bits
from workers.quantization.mixed.choice import choose_by_bytes
from workers.quantization.mixed.pareto import packed_frontier
from workers.quantization.mixed.sensitivity import sensitivities
from workers.quantization.simulate import SimulatedNetwork

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
    clipping = AnalyticClipping(allocate=False, correct_weights=False)
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
def test_the_packed_file_takes_the_bytes_foretold(data: st.DataObject) -> None:
    plan = classifier_plan()
    shapes = weight_shapes(plan)
    bits = {name: data.draw(st.sampled_from(CHOICES)) for name in shapes}
    mixed = with_weight_bits(plan, bits)
    foretold = packed_bytes(shapes, bits)
    codes = {name: quantizer.quantize(constants(plan.model)[name]) for name, quantizer in mixed.weights.items()}
    needed = {name: next(b for b in range(1, 9) if values.min() >= -(2 ** (b - 1)) and values.max() < 2 ** (b - 1))
              for name, values in codes.items()}  # fmt: skip
    packed = weight_bytes(pack_weights(write_qdq(mixed)))
    if needed == bits:
        assert packed == foretold
    assert packed <= foretold + 70


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


def test_the_report_tells_each_weights_bits_and_sums_its_bytes_and_energy(digits: Digits) -> None:
    plan = plan_of(digits.model)
    bits = in_turn(plan)
    mixed, low, high = (with_weight_bits(plan, each) for each in (bits, dict.fromkeys(bits, 2), dict.fromkeys(bits, 8)))
    told = {item.tensor: item.bits for item in report.tensor_reports(mixed, []) if item.role == "weight"}
    assert told == bits
    joules = [report.energy(digits.model, each).after_joules for each in (low, mixed, high)]
    assert joules[0] < joules[1] < joules[2]
    content = digits.model.SerializeToString()
    sizes = [
        report.sizes(content, each, pack_weights(write_qdq(each)), write_qdq(each)).weights_packed
        for each in (low, mixed, high)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_bits_chosen_by_sensitivity_beat_equal_bits_of_the_same_size(digits: Digits) -> None:
    """What it is all for: more accuracy at equal bytes than with one number of bits for every layer."""
    plan = plan_of(digits.model)
    shapes = weight_shapes(plan)
    calibration = [{"image": digits.calibration}]
    measured = sensitivities(plan, calibration, classes=digits.model.graph.output[0].name)
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
    assert all(after > before for before, after in scores), scores

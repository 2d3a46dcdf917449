"""Laws that hold for every method, at both granularities, on whatever network."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.quantizations import Granularity, QuantizationMethod
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView
from tests.graphs.builders import run, run_optimized, with_outputs
from tests.workers.quantization.drawn import DrawnNetwork, drawn_networks, images, prepared, wide_networks
from tests.workers.quantization.networks import one_thread, request_for, served
from workers.onnx_module import OnnxModule
from workers.quantization.affine import channel_ranges, channel_weight_quantizer, tensor_weight_quantizer
from workers.quantization.method import Method
from workers.quantization.methods import methods
from workers.quantization.observation import as_tensors
from workers.quantization.simulate import SimulatedNetwork

BITS = st.integers(2, 8)
WITHOUT_CORRECTIONS: dict[QuantizationMethod, dict[str, bool]] = {
    QuantizationMethod.RQ: {},
    QuantizationMethod.DFQ: {"absorption": False, "correction": False},
    QuantizationMethod.ACIQ: {"correct_weights": False},
}
"""Settings by which a method changes the float network by nothing that is not exact."""

every_method = pytest.mark.parametrize("method", list(methods))
every_granularity = pytest.mark.parametrize("granularity", Granularity)
few = settings(max_examples=12, derandomize=True)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def plan_of(
    method: Method, network: DrawnNetwork, granularity: Granularity, weight_bits: int, activation_bits: int = 8
) -> QuantizationPlan:
    request = request_for(
        weight_bits=weight_bits, activation_bits=activation_bits, weight_granularity=granularity.value
    )
    return method(prepared(network), request).plan


def weight(plan: QuantizationPlan, name: str) -> Array:
    value = GraphView(plan.model).constant(name)
    assert value is not None
    return value


def activations(plan: QuantizationPlan, network: DrawnNetwork) -> dict[str, Array]:
    """Return what the float network makes of the images the methods measured, by quantizer."""
    tensors = [name for site in plan.sites.activations for name in site.tensors]
    with torch.inference_mode():
        seen = OnnxModule(plan.model)(as_tensors(prepared(network).batches[0]), watch=tensors)
    return {
        site.name: np.concatenate([seen[name].numpy().reshape(-1) for name in site.tensors])
        for site in plan.sites.activations
    }


def rows_of(quantizer: Quantizer, values: Array) -> Array:
    """Return values with one row for each scale, [C, n] or [1, n]."""
    axis = quantizer.axis
    return values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def rowwise(quantizer: Quantizer) -> Quantizer:
    """Return the quantizer for what `rows_of` returns."""
    return quantizer if quantizer.axis is None else replace(quantizer, axis=0)


def bits_of(quantizer: Quantizer) -> Array:
    """Return the bits of each channel, or of all."""
    return np.asarray(quantizer.bits if quantizer.channel_bits is None else quantizer.channel_bits)


def column(quantizer: Quantizer, per_scale: Any) -> Array:
    """Return scales, codes or zero points as a column beside the rows of `rows_of`, float64."""
    count = quantizer.scale.size
    return np.broadcast_to(np.asarray(per_scale, np.float64).reshape(-1), (count,)).reshape(count, 1)


def cases(plan: QuantizationPlan, network: DrawnNetwork, seed: int) -> Iterator[tuple[Quantizer, Array]]:
    """Yield every quantizer of a plan for rows, with its own tensor's values and with ones within and far beyond."""
    measured = activations(plan, network)
    rng = np.random.default_rng(seed)
    for name, quantizer in [*plan.weights.items(), *plan.activations.items()]:
        own = rows_of(quantizer, weight(plan, name) if name in plan.weights else measured[name])
        reach = column(quantizer, quantizer.scale) * column(quantizer, quantizer.qmax - quantizer.qmin)
        yield rowwise(quantizer), own
        yield rowwise(quantizer), (rng.normal(0, 1, (own.shape[0], 64)) * reach).astype(np.float32)


@every_method
@every_granularity
@few
@given(network=drawn_networks, weight_bits=BITS, activation_bits=BITS)
def test_zero_is_exact_and_quantizing_is_monotone_idempotent_and_within_half_a_step(
    method: QuantizationMethod, granularity: Granularity, network: DrawnNetwork, weight_bits: int, activation_bits: int
) -> None:
    plan = plan_of(methods[method], network, granularity, weight_bits, activation_bits)
    per_channel = [quantizer.axis is not None for quantizer in plan.weights.values()]
    assert all(per_channel) if granularity is Granularity.CHANNEL else not any(per_channel)
    for quantizer, values in cases(plan, network, network.seed):
        fake = quantizer.fake(values)
        np.testing.assert_array_equal(quantizer.fake(np.zeros_like(values)), 0)
        np.testing.assert_array_equal(quantizer.fake(fake), fake)
        ordered = np.sort(values, axis=1)
        assert np.all(np.diff(quantizer.quantize(ordered).astype(int), axis=1) >= 0)
        assert np.all(np.diff(quantizer.fake(ordered), axis=1) >= 0)
        scale = column(quantizer, quantizer.scale)
        low, high = (scale * column(quantizer, end - quantizer.zero_point) for end in (quantizer.qmin, quantizer.qmax))
        inside = (values >= low) & (values <= high)
        error = np.abs(fake.astype(np.float64) - values)
        assert np.all(error[inside] <= (0.5 * scale * (1 + 1e-5) + 1e-6 * np.abs(values))[inside])


@every_method
@every_granularity
@few
@given(network=drawn_networks, bits=st.integers(2, 7))
def test_one_more_bit_makes_every_step_smaller(
    method: QuantizationMethod, granularity: Granularity, network: DrawnNetwork, bits: int
) -> None:
    """The bound S/2 on the error inside the clip falls, for whatever values, in every channel.

    ACIQ's weights are another matter: one more bit may make it clip no longer. There the certain bound is the error
    of min–max at the same bits, which it never exceeds; and no channel loses bits when there are more to share out.
    """
    plain: Any = replace(methods[method], **WITHOUT_CORRECTIONS[method])  # type: ignore[type-var]
    fewer, more = (plan_of(plain, network, granularity, width, width) for width in (bits, bits + 1))
    quantizers = {name: (fewer.activations[name], more.activations[name]) for name in fewer.activations}
    for site in fewer.sites.activations:
        if site.role != "full":
            del quantizers[site.name]  # of 8 bits whatever is asked for
    if method is QuantizationMethod.ACIQ:
        for name, quantizer in more.weights.items():
            assert np.all(bits_of(quantizer) >= bits_of(fewer.weights[name]))
            values = weight(more, name)
            assert squared_errors(quantizer, values) <= squared_errors(min_max(quantizer, values), values) * (1 + 1e-6)
    else:
        quantizers |= {name: (fewer.weights[name], more.weights[name]) for name in fewer.weights}
    for name, (before, after) in quantizers.items():
        live = before.scale != 1  # what is nothing but 0 has a step of 1
        halved = 1.0 if method is QuantizationMethod.ACIQ else 0.56  # a clip grows with the bits, a range does not
        assert np.all(after.scale[live] < halved * before.scale[live]), name


def min_max(quantizer: Quantizer, values: Array) -> Quantizer:
    """Return the quantizer of the same bits that covers all values."""
    if quantizer.axis is None:
        return tensor_weight_quantizer(float(values.min()), float(values.max()), quantizer.bits)
    low, high = channel_ranges(values, quantizer.axis)
    return channel_weight_quantizer(low, high, bits_of(quantizer), axis=quantizer.axis)


def squared_errors(quantizer: Quantizer, values: Array) -> float:
    """Return the sum of squared errors."""
    return float(np.square(quantizer.fake(values) - values.astype(np.float64)).sum())


@every_method
@every_granularity
@settings(max_examples=5, derandomize=True)
@given(network=wide_networks)
def test_more_bits_never_err_more(method: QuantizationMethod, granularity: Granularity, network: DrawnNetwork) -> None:
    """From b to b + 1 bits the mean squared error of bell-shaped weights and activations never rises.

    It is no theorem for values one by one: the grids of b and b + 1 bits are not nested (they have 2^b − 1 and
    2^(b+1) − 1 steps), so a third of the range is exact at 2 bits and not at 3. The mean over many different values
    does follow S²/12. So this is of weights of some hundred values, and of activations after BatchNorm, on the data
    their ranges were measured on, before biases are corrected (differently at each width).
    """
    errors: dict[str, list[float]] = {}
    exact: Any = replace(methods[method], **WITHOUT_CORRECTIONS[method])  # type: ignore[type-var]
    for bits in range(2, 9):
        plan = plan_of(methods[method], network, granularity, bits, bits)
        measured = {name: weight(plan, name) for name in plan.weights if weight(plan, name).size >= 256}
        for name, values in measured.items():
            error = plan.weights[name].fake(values) - values.astype(np.float64)
            errors.setdefault(name, []).append(float(np.square(error).mean()))
        plan = plan_of(exact, network, granularity, bits, bits)
        measured = activations(plan, network)
        for name, values in measured.items():
            error = plan.activations[name].fake(values) - values.astype(np.float64)
            errors.setdefault(name, []).append(float(np.square(error).mean()))
    assert errors
    for name, by_bits in errors.items():
        for fewer, more in pairwise(by_bits):
            assert more <= fewer * (1 + 1e-6), (name, by_bits)


@every_method
@every_granularity
@few
@given(network=drawn_networks, bits=BITS)
def test_the_float_function_is_unchanged_to_1e_5_but_for_corrections(
    method: QuantizationMethod, granularity: Granularity, network: DrawnNetwork, bits: int
) -> None:
    exact: Any = replace(methods[method], **WITHOUT_CORRECTIONS[method])  # type: ignore[type-var]
    plan = plan_of(exact, network, granularity, bits)
    inputs = images(8, network.seed)
    [before] = run(network.build(), image=inputs)
    [after] = run(plan.model, image=inputs)
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5 * np.abs(before).max())


@every_method
@every_granularity
@few
@given(network=drawn_networks, bits=BITS)
def test_what_is_served_equals_the_simulated_network(
    method: QuantizationMethod, granularity: Granularity, network: DrawnNetwork, bits: int
) -> None:
    plan = plan_of(methods[method], network, granularity, bits, bits)
    inputs = images(64, network.seed)
    written = write_qdq(plan)
    made = {name for node in written.graph.node for name in node.output}
    tensors = [name for site in plan.sites.activations for name in site.tensors if name in made]
    assert len(tensors) >= 3
    simulated = SimulatedNetwork(plan).run({"image": inputs}, watch=tensors)
    inner = run_optimized(with_outputs(written, tensors), image=inputs)[-len(tensors) :]
    alike = np.ones(len(inputs), np.bool_)
    for name, values in zip(tensors, inner, strict=True):
        site = plan.sites.activation(name)
        assert site is not None
        steps = np.abs(values - simulated[name]) / plan.activations[site.name].scale
        by_input = steps.reshape(len(inputs), -1).max(axis=1)
        assert by_input[alike].max(initial=0) <= 1.01, "more than a rounding tie, with everything before it equal"
        alike &= by_input < 0.5
    assert alike.mean() >= 0.8
    expected, answers = simulated["logits"], served(plan, inputs)
    tie, rounding = _tie_in_the_pool(plan), 1e-4 * float(np.abs(expected).max())
    assert np.abs(answers - expected)[alike].max() <= tie + rounding
    ordered = np.sort(expected, axis=1)
    decided = ordered[:, -1] - ordered[:, -2] > 2 * (tie + rounding)
    same = answers.argmax(axis=1) == expected.argmax(axis=1)
    assert np.all(same[alike & decided])


def _tie_in_the_pool(plan: QuantizationPlan) -> float:
    """Return how far logits move if every pooled value is rounded the other way."""
    classifier = plan.model.graph.node[-1]
    assert classifier.op_type == "Gemm"
    site = plan.sites.activation(classifier.input[0])
    assert site is not None
    codes = plan.weights[classifier.input[1]].fake(weight(plan, classifier.input[1]))
    return float(plan.activations[site.name].scale * np.abs(codes).sum(axis=1).max())

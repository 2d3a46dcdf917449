"""Equalization, high-bias absorption and bias correction of DFQ."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.quantizations import Granularity, QuantizationMethod
from faceter.graphs.batch_norm_folding import BatchNormStatistics, fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.equalization_pairs import find_pairs
from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import find_quantization_sites
from faceter.graphs.view import GraphView
from tests.graphs.builders import GraphBuilder, residual_net, run, with_outputs
from tests.references.expected_shift import convolution_shift
from tests.workers.quantization.networks import Digits, prepared_for, request_for
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization import bias_correction
from workers.quantization.absorption import absorb_high_biases, absorbable, absorption_errors
from workers.quantization.calibration import ActivationStatistics
from workers.quantization.equalization import equalize
from workers.quantization.equalization_cost import equalization_cost
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.layers import layers_with_bias
from workers.quantization.methods import methods
from workers.quantization.rq import min_max_weights
from workers.quantization.simulate import SimulatedNetwork, replacements
from workers.quantization.statistics import from_distribution


def chain(
    seed: int, *, activation: str = "Relu", kernel: int = 3, bias: float = 0.0, clip: float | None = None
) -> onnx.ModelProto:
    """Convolution, depthwise, pointwise and a matrix product, with channels of very different size."""
    net = GraphBuilder(["batch", 3, 9, 9], name="image", seed=seed)
    widths = [(8, 3, 1), (8, 8, 8), (12, 8, 1)]
    for index, (outputs, inputs, groups) in enumerate(widths):
        scale = np.exp(net.rng.uniform(-3, 3, (outputs, 1, 1, 1)))
        size = kernel if groups > 1 or index == 0 else 1
        weight = (net.rng.normal(size=(outputs, inputs // groups, size, size)) * scale).astype(np.float32)
        offset = (net.rng.normal(size=outputs) + bias).astype(np.float32)
        names = [net.constant(weight, f"w{index}"), net.constant(offset, f"b{index}")]
        net.add("Conv", net.last, *names, group=groups, output=f"conv{index}")
        if clip is not None:
            ends = [net.constant(np.full((), end, np.float32)) for end in (0, clip)]
            net.add("Clip", net.last, *ends, output=f"clipped{index}")
        elif activation == "PRelu":
            net.add("PRelu", net.last, net.constant(net.rng.uniform(0, 1, (outputs, 1, 1)).astype(np.float32)))
        elif activation:
            net.add(activation)
    net.add("GlobalAveragePool")
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(5, 12, name="classifier"), net.weight(5), output="logits", transB=1)
    return canonicalize(net.build())


def images(seed: int, count: int = 16, size: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["Relu", "PRelu", "LeakyRelu", ""]))
def test_equalization_leaves_the_function_unchanged(seed: int, activation: str) -> None:
    model = chain(seed, activation=activation)
    made = equalize(model, {})
    assert made.pairs == 3
    (before,), (after,) = (run(m, "logits", image=images(seed)) for m in (model, made.model))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_after_equalization_ranges_match_across_pairs(seed: int) -> None:
    made = equalize(chain(seed), {})
    view = GraphView(made.model)
    for pair in find_pairs(made.model):
        first, second = (np.asarray(view.constant(layer.weight)) for layer in (pair.first, pair.second))
        r1 = np.abs(pair.first.by_output(first)).max(axis=1)
        r2 = np.abs(pair.second.by_input(second)).max(axis=1)
        np.testing.assert_allclose(r1, r2, rtol=0.02)


def test_equalization_moves_statistics_with_their_channels() -> None:
    folded = fold_batch_norms(canonicalize(residual_net(0)))
    made = equalize(folded.model, folded.statistics)
    moved = [
        name for name, item in made.statistics.items() if not np.allclose(item.gamma, folded.statistics[name].gamma)
    ]
    assert moved
    x = images(0, 32, 16)
    for name in moved:
        (before,), (after,) = (run(with_outputs(m, [name]), name, image=x) for m in (folded.model, made.model))
        ratio = (after / before).mean(axis=(0, 2, 3))
        np.testing.assert_allclose(made.statistics[name].beta, folded.statistics[name].beta * ratio, rtol=1e-3)


def test_a_zero_channel_is_not_scaled() -> None:
    model = chain(1)
    view = GraphView(model)
    weight = np.array(view.constant("w0"))
    weight[2] = 0
    view.replace_initializer("w0", weight)
    made = equalize(model, {})
    (before,), (after,) = (run(m, "logits", image=images(0)) for m in (model, made.model))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_absorption_lowers_biases_and_keeps_the_function_for_large_values() -> None:
    model = chain(4, bias=60.0, kernel=1)
    x = images(0, 64)
    names = ["conv0", "conv1", "conv2"]
    seen = run(with_outputs(model, names), *names, image=x)
    statistics = {
        name: BatchNormStatistics(values.mean((0, 2, 3)), values.std((0, 2, 3)))
        for name, values in zip(names, seen, strict=True)
    }
    made = absorb_high_biases(model, statistics)
    assert made.pairs == 3
    view, before = GraphView(made.model), GraphView(model)
    assert np.all(np.asarray(view.constant("b0")) <= np.asarray(before.constant("b0")))
    (old,), (new,) = (run(m, "logits", image=x) for m in (model, made.model))
    assert np.abs(new - old).max() < 0.02 * np.abs(old).max()
    lowered = statistics["conv0"].beta - made.statistics["conv0"].beta
    assert lowered.max() > 0
    np.testing.assert_allclose(
        lowered, np.maximum(0, statistics["conv0"].beta - 3 * statistics["conv0"].gamma), rtol=1e-5
    )


def test_absorption_without_statistics_changes_nothing() -> None:
    model = chain(4, bias=60.0)
    made = absorb_high_biases(model, {})
    assert made.pairs == 0
    assert made.model.SerializeToString() == model.SerializeToString()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([1, 2, 4]))
def test_expected_shift_equals_the_slow_sum(seed: int, groups: int) -> None:
    net = GraphBuilder(["n", 4, 5, 5], name="image")
    net.conv(8, 4, group=groups)
    (layer,) = layers_with_bias(net.build())
    rng = np.random.default_rng(seed)
    error, means = rng.normal(size=(8, 4 // groups, 3, 3)), rng.normal(size=4)
    expected = convolution_shift(error, means, groups)
    np.testing.assert_allclose(bias_correction.expected_shift(layer, error, means), expected, rtol=1e-9, atol=1e-9)


def test_analytic_correction_gives_outputs_their_float_mean() -> None:
    rng = np.random.default_rng(0)
    net = GraphBuilder(["n", 24, 16, 16], name="image")
    net.add("Relu", "image", output="x")
    net.conv(8, 24, 1)
    model = net.build()
    beta, gamma = rng.normal(size=24), rng.uniform(0.5, 2, 24)
    x = ClampedGaussian.normal(beta, gamma).clamp(0, np.inf)
    sites = find_quantization_sites(model)
    weights = min_max_weights(GraphView(model), sites, 3, Granularity.TENSOR)
    corrected, unknown = bias_correction.analytic(model, weights, ActivationStatistics({"x": from_distribution(x)}))
    assert not unknown
    inputs = rng.normal(beta[:, None, None], gamma[:, None, None], (64, 24, 16, 16)).astype(np.float32)
    (truth,) = run(model, net.last, image=inputs)
    gaps = []
    for made in (model, corrected):
        answers = SimulatedNetwork(QuantizationPlan(made, weights, {}, sites)).run({"image": inputs})[net.last]
        gaps.append(float(np.abs((answers - truth).mean(axis=(0, 2, 3))).max()))
    assert gaps[0] > 0.1
    assert gaps[1] < 0.05 * gaps[0]


def test_empirical_correction_gives_every_layer_its_float_mean_on_the_data(digits: Digits) -> None:
    batches: list[Batch] = [{"image": digits.calibration[:128]}, {"image": digits.calibration[128:]}]
    plan = methods[QuantizationMethod.RQ](prepared_for(digits.model, batches=batches), request_for(weight_bits=4)).plan
    corrected = bias_correction.empirical(plan, batches)
    results = [layer.result for layer in layers_with_bias(plan.model)]
    truth = run(with_outputs(plan.model, results), *results, image=digits.calibration)
    for made, close in ((plan, False), (corrected, True)):
        network, inputs = OnnxModule(made.model), torch.from_numpy(digits.calibration)
        answers = network(inputs, watch=results, replace=replacements(made))
        gaps = [
            np.abs((answers[name].detach().numpy() - values).mean(axis=(0, *range(2, values.ndim)))).max()
            / values.std()
            for name, values in zip(results, truth, strict=True)
        ]
        assert bool(max(gaps) < 0.02) is close


def test_a_layer_without_bias_gets_one() -> None:
    net = GraphBuilder(["n", 3, 5, 5], name="image")
    net.add("Conv", "image", net.weight(4, 3, 1, 1), output="y")
    model = net.build()
    shifted = bias_correction.subtract_from_biases(model, {"y": np.array([1.0, 2.0, 3.0, 4.0])})
    x = images(0, 2, 5)
    (before,), (after,) = (run(m, "y", image=x) for m in (model, shifted))
    np.testing.assert_allclose(
        before - after, np.broadcast_to(np.arange(1, 5).reshape(1, 4, 1, 1), before.shape), rtol=1e-5
    )


def test_dfq_without_batch_norm_warns_about_skipped_steps() -> None:
    model = chain(0)
    notes = methods[QuantizationMethod.DFQ](prepared_for(model), request_for()).warnings
    assert any("No high biases were absorbed" in note for note in notes)
    assert any("seeded noise" in note for note in notes)
    assert any("equalized across 3 pairs" in note for note in notes)


def test_dfq_keeps_relu6_and_says_where_channels_have_bounds_of_their_own() -> None:
    prepared = prepared_for(chain(7, clip=1.0))
    made = methods[QuantizationMethod.DFQ](prepared, request_for(weight_granularity="tensor"))
    operators = [node.op_type for node in made.plan.model.graph.node]
    changed = operators.count("Min")
    assert changed >= 1
    assert changed + operators.count("Clip") == 3
    assert any(f"one bound for each channel in {changed} places" in note for note in made.warnings)
    assert any(node.op_type == "Clip" for node in prepared.model.graph.node), "the prepared model is not touched"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([0.5, 2.0, 6.0]))
def test_equalization_through_clips_leaves_the_function_unchanged(seed: int, high: float) -> None:
    model = chain(seed, clip=high)
    made = equalize(model, {})
    assert made.pairs == 3
    x = images(seed)
    (before,), (after,) = (run(m, "logits", image=x) for m in (model, made.model))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    (entering,) = run(with_outputs(model, ["clipped0"]), "clipped0", image=x)
    assert (entering == np.float32(high)).any()


@pytest.mark.parametrize("granularity", Granularity)
def test_clipped_channels_are_served_as_simulated(granularity: Granularity) -> None:
    """The Min of codes, in integers, is the Min of floats."""
    model = chain(7, clip=1.0)
    prepared = prepared_for(model)
    equalized = prepared.with_model(equalize(model, {}).model)
    plan = methods[QuantizationMethod.RQ](equalized, request_for(weight_granularity=granularity.value)).plan
    operators = [node.op_type for node in write_qdq(plan).graph.node]
    assert operators.count("Min") == 3
    assert "Relu" not in operators
    x = images(3)
    simulated = SimulatedNetwork(plan).run({"image": x})["logits"]
    np.testing.assert_allclose(
        run(write_qdq(plan), "logits", image=x)[0], simulated, atol=0.05 * np.abs(simulated).max()
    )
    (expected,) = run(model, "logits", image=x)
    assert np.square(simulated - expected).sum() < 1e-2 * np.square(expected).sum()


def test_absorption_is_left_where_it_changes_the_function() -> None:
    model = chain(4, bias=60.0, kernel=1)
    x = images(0, 64)
    names = ["conv0", "conv1", "conv2"]
    seen = run(with_outputs(model, names), *names, image=x)
    honest = {
        name: BatchNormStatistics(values.mean((0, 2, 3)), values.std((0, 2, 3)))
        for name, values in zip(names, seen, strict=True)
    }
    false = {**honest, "conv1": BatchNormStatistics(10 * honest["conv1"].beta, honest["conv1"].gamma)}
    for statistics, costly in ((honest, []), (false, ["conv1"])):
        errors = absorption_errors(OnnxModule(model), [{"image": x}], absorbable(model, statistics))
        assert set(errors) == set(names)
        assert [name for name, error in errors.items() if error > 1e-3] == costly
    made = absorb_high_biases(model, false, skip=["conv1"])
    assert made.pairs == 2
    (old,), (new,) = (run(m, "logits", image=x) for m in (model, made.model))
    assert np.abs(new - old).max() < 0.02 * np.abs(old).max()


def test_absorption_moves_the_bounds_of_clips() -> None:
    model = equalize(chain(4, bias=60.0, kernel=1, clip=100.0), {}).model
    x = images(0, 64)
    names = ["conv0", "conv1"]
    seen = run(with_outputs(model, names), *names, image=x)
    statistics = {
        name: BatchNormStatistics(values.mean((0, 2, 3)), values.std((0, 2, 3)))
        for name, values in zip(names, seen, strict=True)
    }
    made = absorb_high_biases(model, statistics)
    assert made.pairs == 2
    (old,), (new,) = (run(m, "logits", image=x) for m in (model, made.model))
    assert np.abs(new - old).max() < 0.02 * np.abs(old).max()


def test_with_a_cost_activations_are_not_made_worse_for_weights_that_need_it_not() -> None:
    """A channel of small weights and a large activation stays so, if each channel has a scale of its own."""
    net = GraphBuilder(["n", 4, 8, 8], name="image")
    first = np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1) * np.array([1, 1, 1, 1e-3], np.float32).reshape(4, 1, 1, 1)
    net.add("Conv", "image", net.constant(first, "w0"), net.constant(np.array([0, 0, 0, 4], np.float32), "b0"))
    net.add("Relu")
    net.add("Conv", net.last, net.weight(4, 4, 1, 1, name="w1"), output="y")
    model = canonicalize(net.build())
    batches: list[Batch] = [{"image": np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)}]
    prepared = prepared_for(model, batches=batches)
    errors = {}
    for granularity in Granularity:
        request = request_for(weight_granularity=granularity.value)
        cost = equalization_cost(prepared, request)
        for name, made in (("paper", equalize(model, {})), ("cost", equalize(model, {}, cost=cost))):
            plan = methods[QuantizationMethod.RQ](prepared.with_model(made.model), request).plan
            (expected,) = run(model, "y", **batches[0])
            answers = SimulatedNetwork(plan).run(batches[0])["y"]
            errors[granularity, name] = float(np.square(answers - expected).sum())
    assert errors[Granularity.CHANNEL, "cost"] < 0.2 * errors[Granularity.CHANNEL, "paper"]
    assert errors[Granularity.TENSOR, "cost"] <= errors[Granularity.TENSOR, "paper"]

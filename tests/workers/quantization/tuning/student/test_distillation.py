"""Distillation along a bit-width schedule, with relative learning rates."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantizer import Array
from faceter.graphs.view import GraphView
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import (
    CLASSIFIER,
    CPU,
    IMAGES,
    SIGNALS,
    digest,
    distillation_step,
    prepared_for,
    signal_network,
)
from workers.jobs.checkpoints import dump, load
from workers.quantization.aciq import ACIQ
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.channel_moments import channel_moments
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.distillation import Distillation, DistillationSettings
from workers.quantization.tuning.student.moment_matching import match_channel_moments
from workers.quantization.tuning.student.network import QuantizedNetwork
from workers.training.precision import Precision

FEW: dict[str, Any] = {"weight_bits": 2, "activation_bits": 2}


@pytest.fixture(scope="module")
def network(digits: Digits) -> PreparedNetwork:
    return prepared_for(digits.model, CLASSIFIER)


def begun(
    prepared: PreparedNetwork, recipe: DistillationSettings | None = None, **bits: object
) -> tuple[Distillation, torch.Tensor]:
    request = request_for(**bits)
    session = TuningSession(prepared, request, CPU)
    session.precision = Precision("float32", CPU)
    start = ACIQ(allocate=False)(prepared, request).plan
    assert session.space is not None
    return Distillation(session, start, recipe or DistillationSettings(batch=24)), session.to_device(
        session.space.noise(24, 3)
    )


def bits_of(plan: QuantizationPlan) -> tuple[set[int], set[int]]:
    full = {plan.activations[site.name].bits for site in plan.sites.activations if site.role == "full"}
    return {quantizer.bits for quantizer in plan.weights.values()}, full


def test_stages_follow_the_schedule(network: PreparedNetwork) -> None:
    distillation, x = begun(network, **FEW)
    seen = []
    for fraction in (0.0, 0.1, 0.2, 0.4, 0.6, 0.99):
        distillation_step(distillation, x, fraction, 1.0, x)
        seen.append((distillation.stage.name, distillation.ready, bits_of(distillation.student.plan())))
    assert seen == [
        ("tuning W4A4", False, ({4}, {4})),
        ("tuning W4A4", False, ({4}, {4})),
        ("tuning W3A3", False, ({3}, {3})),
        ("tuning W2A3", False, ({2}, {3})),
        ("tuning W2A2", True, ({2}, {2})),
        ("tuning W2A2", True, ({2}, {2})),
    ]


def test_stages_without_time_are_skipped(network: PreparedNetwork) -> None:
    distillation, x = begun(network, **FEW)
    distillation_step(distillation, x, 0.0, 1.0, x)
    distillation_step(distillation, x, 0.9, 1.0, x)
    assert distillation.ready


def test_ended_early_it_has_the_target_bits_and_its_tuned_weights(network: PreparedNetwork, digits: Digits) -> None:
    distillation, _ = begun(network, **FEW)
    x = distillation.session.to_device(torch.from_numpy(digits.calibration[:64]))
    distillation.finalize(x)
    assert not distillation.ready, "nothing was learned"
    for _ in range(40):
        distillation_step(distillation, x, 0.4, 1.0, x)
    assert bits_of(distillation.student.plan()) == ({2}, {3})
    distillation.finalize(x)
    assert distillation.ready
    assert bits_of(distillation.student.plan()) == ({2}, {2})
    untuned, _ = begun(network, **FEW)
    distillation_step(untuned, x, 0.9, 0.0, x)
    tuned, rounded = ({**distillation_step(item, x, 0.9, 0.0, x)} for item in (distillation, untuned))
    assert tuned["outputs"] < 0.8 * rounded["outputs"]


def test_the_students_losses_fall(network: PreparedNetwork, digits: Digits) -> None:
    distillation, _ = begun(network, weight_bits=3, activation_bits=3, weight_granularity="tensor")
    x = distillation.session.to_device(torch.from_numpy(digits.calibration[:64]))
    losses = [distillation_step(distillation, x, 0.5 + index / 80, 1.0, x) for index in range(40)]
    assert set(losses[0]) == {"outputs", "features"}
    assert float(losses[-1]["outputs"]) < 0.7 * float(losses[0]["outputs"])


@pytest.mark.parametrize("done", [0, 1, 3, 5])
def test_every_stage_resumes_from_its_state(done: int, network: PreparedNetwork) -> None:
    fractions = [0.0, 0.1, 0.2, 0.35, 0.6, 0.8]
    whole, x = begun(network, **FEW)
    for fraction in fractions[:done]:
        distillation_step(whole, x, fraction, 1.0, x)
    state = load(dump(whole.state()))
    again, _ = begun(network, **FEW)
    again.restore(state)
    if done:
        assert digest(again.student.plan()) == digest(whole.student.plan()), "with the bits of its stage"
    for fraction in fractions[done:]:
        assert distillation_step(again, x, fraction, 1.0, x) == distillation_step(whole, x, fraction, 1.0, x)
    assert digest(again.student.plan()) == digest(whole.student.plan())


@pytest.mark.parametrize("from_start", [False, True])
def test_a_network_with_new_biases_resumes(from_start: bool) -> None:
    """ACIQ gives every layer a bias; the float network may have none."""
    net = GraphBuilder(["batch", 3, 16, 16], name="image")
    for outputs, inputs in ((6, 3), (4, 6)):
        net.add("Conv", net.last, net.weight(outputs, inputs, 3, 3), pads=[1, 1, 1, 1])
        net.add("Relu")
    prepared = prepared_for(net.build(), IMAGES)
    recipe = DistillationSettings(from_start=from_start, batch=24)
    whole, x = begun(prepared, recipe, weight_bits=3, activation_bits=3)
    assert len(whole.student.model().graph.initializer) == 4
    distillation_step(whole, x, 0.0, 1.0, x)
    again, _ = begun(prepared, recipe, weight_bits=3, activation_bits=3)
    again.restore(load(dump(whole.state())))
    assert distillation_step(again, x, 0.7, 1.0, x) == distillation_step(whole, x, 0.7, 1.0, x)
    assert len(again.student.model().graph.initializer) == (4 if from_start else 2)


def test_accumulated_chunks_equal_one_step(network: PreparedNetwork) -> None:
    """Where memory holds fewer inputs than a batch has, gradients add up to those of the whole batch."""
    whole, x = begun(network, weight_bits=8, activation_bits=8)
    parts, _ = begun(network, weight_bits=8, activation_bits=8)
    parts.session.max_batch = 8
    for distillation in (whole, parts):
        distillation.settings = replace(distillation.settings, feature_weight=0.0)
    found = [distillation_step(distillation, x, 0.0, 1.0, x[:8]) for distillation in (whole, parts)]
    torch.testing.assert_close(found[0]["outputs"], found[1]["outputs"], rtol=0.05, atol=1e-6)
    for one, other in zip(whole.student.weights_and_biases(), parts.student.weights_and_biases(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        difference = float((one.grad - other.grad).norm() / one.grad.norm())
        assert difference < 0.3, "but for codes that are rounding ties"


def test_learning_rates_warm_up_decay_and_scale_with_the_parameters(network: PreparedNetwork) -> None:
    distillation, x = begun(network, weight_bits=4, activation_bits=4)
    groups = []
    for fraction in (0.0, 0.03, 0.5, 1.0):
        distillation_step(distillation, x, fraction, 0.2, x)
        groups.append([group["lr"] / group["initial_lr"] for group in distillation._optimizer.param_groups])
    shares = [group[0] for group in groups]
    assert all(group == pytest.approx([group[0]] * len(group)) for group in groups)
    assert shares[0] == pytest.approx(0.2 / 11, rel=1e-6)
    assert shares[1] == pytest.approx(0.2)
    assert 0.05 < shares[2] < 0.15
    assert shares[3] == pytest.approx(0, abs=1e-9)
    student = distillation.student
    first = next(iter(student.weight_quantizers_by_name()))
    by_parameter = {group["params"][0]: group["initial_lr"] for group in distillation._optimizer.param_groups}
    rate = by_parameter[student.network.trainable()[first]]
    assert rate == pytest.approx(0.015 * student.plan().weights[first].scale.mean(), rel=0.05)


def test_learning_rates_scale_with_the_root_of_a_smaller_batch(network: PreparedNetwork) -> None:
    distillation, x = begun(network, DistillationSettings(batch=20), weight_bits=4, activation_bits=4)
    shares = []
    for count in (24, 20, 5):
        distillation_step(distillation, x[:count], 0.03, 1.0, x)
        group = distillation._optimizer.param_groups[0]
        shares.append(group["lr"] / group["initial_lr"])
    assert shares == pytest.approx([1.0, 1.0, 0.5])


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_moments_of_every_channel_are_matched(granularity: str) -> None:
    prepared = prepared_for(signal_network(), SIGNALS)
    request = request_for(weight_bits=3, activation_bits=8, weight_granularity=granularity)
    session = TuningSession(prepared, request, CPU)
    session.precision = Precision("float32", CPU)
    student = session.student(RawQuantization()(prepared, request).plan, learned_steps=True)
    assert session.space is not None
    x = session.space.noise(256, 0)
    results = [node.output[0] for node in prepared.model.graph.node if node.op_type in ("Conv", "Gemm")]
    before = distances(session, student, x, results)
    codes = codes_of(student.plan())
    match_channel_moments(session, student, x)
    after = distances(session, student, x, results)
    for name, (mean, spread) in after.items():
        assert mean < 0.02 * before[name][0] + 2e-4
        if granularity == "channel":
            assert spread < 0.1 * before[name][1] + 0.01
    for name, values in codes_of(student.plan()).items():
        assert (values != codes[name]).mean() < 0.02, "no code is touched, but for ties"


@torch.no_grad()
def distances(
    session: TuningSession, student: QuantizedNetwork, x: torch.Tensor, tensors: list[str]
) -> dict[str, tuple[float, float]]:
    """Return how far mean and deviation of each tensor's channels are from the float network's, in its deviations."""
    wanted, given = session.teacher_outputs(x, tensors), session.run(student, x, tensors)
    found = {}
    for name in tensors:
        (mean, variance), (own_mean, own_variance) = (channel_moments(values[name]) for values in (wanted, given))
        off = ((own_mean - mean).square() / variance).mean(), (own_variance / variance).log().abs().mean()
        found[name] = float(off[0]), float(off[1])
    return found


def codes_of(plan: QuantizationPlan) -> dict[str, Array]:
    view = GraphView(plan.model)
    found = {}
    for name, quantizer in plan.weights.items():
        values = view.constant(name)
        assert values is not None
        found[name] = quantizer.quantize(values)
    return found

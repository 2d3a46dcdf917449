"""Laws that hold for every method that trains after rounding."""

from typing import Any

import numpy as np
import pytest
import torch

from faceter.contracts.quantizations import QuantizationMethod
from tests.graphs.builders import GraphBuilder
from tests.workers.quantization.mixed.networks import two_headed
from tests.workers.quantization.networks import Digits, Floats, request_for, served
from tests.workers.quantization.tuning.light_methods import (
    CLASSIFIER,
    CPU,
    IMAGES,
    SIGNALS,
    MethodRun,
    bits_of,
    digest,
    every_method,
    float_network,
    light,
    prepared_for,
    run,
    signal_network,
    without_batch_norm,
)
from tests.workers.training.fakes import KilledError, RecordingCallbacks
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.tune import tune
from workers.quantization.tuning.session import TuningSession
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks

STEPS = 14
FEW_BITS: dict[str, Any] = {"weight_bits": 2, "activation_bits": 3, "seed": 5}
"""Bits that `auto` and `ft` go down to in three stages."""

every = pytest.mark.parametrize("method", every_method)
without_batch_norm_too = pytest.mark.parametrize(
    "method", [QuantizationMethod.ZAQ, QuantizationMethod.FT, QuantizationMethod.AUTO]
)


@pytest.fixture(scope="module")
def network(digits: Digits) -> PreparedNetwork:
    """A trained network with BatchNorm, and inputs of its user's own."""
    return prepared_for(digits.model, CLASSIFIER, digits.calibration[:64])


def models(network: PreparedNetwork) -> list[bytes]:
    return [model.SerializeToString() for model in (network.model, network.original)]


@pytest.fixture(scope="module")
def files(network: PreparedNetwork) -> list[bytes]:
    """The float network, as it was before any run."""
    return models(network)


@pytest.fixture(scope="module")
def whole(network: PreparedNetwork, files: list[bytes]) -> dict[QuantizationMethod, MethodRun]:
    """An uninterrupted run of every method, with few bits."""
    return {method: run(method, network, STEPS, **FEW_BITS) for method in every_method}


@every
def test_a_zero_budget_gives_the_network_after_rounding_alone(
    method: QuantizationMethod, network: PreparedNetwork
) -> None:
    request = request_for(method=method, weight_bits=4, activation_bits=5)
    made = tune(light(method), network, request, Callbacks(), lambda session: lambda _: None, Budget(steps=0))
    assert digest(made.plan) == digest(light(method).start(network, request).plan)
    assert made.tuning is not None
    assert (made.tuning.steps, made.tuning.kept_step) == (0, 0)
    assert any("rounding alone" in note for note in made.warnings)


@every
def test_the_float_network_and_its_batch_norm_are_untouched(
    method: QuantizationMethod, network: PreparedNetwork, files: list[bytes], whole: dict[QuantizationMethod, MethodRun]
) -> None:
    assert models(network) == files
    session = whole[method].trainer.session
    assert float_network(session) == float_network(TuningSession(network, session.request, CPU))


@every
def test_weights_and_steps_are_trained(method: QuantizationMethod, whole: dict[QuantizationMethod, MethodRun]) -> None:
    """All the laws here would hold for a method that did nothing."""
    ran = whole[method]
    request = request_for(method=method, **FEW_BITS)
    assert digest(light(method).start(ran.trainer.session.prepared, request).plan) != ran.files[1]
    assert ran.tuned.tuning.steps == STEPS
    assert sum(phase.steps for phase in ran.tuned.tuning.phases) == STEPS


@every
def test_equal_seeds_and_steps_give_equal_files_and_other_seeds_others(
    method: QuantizationMethod, network: PreparedNetwork, whole: dict[QuantizationMethod, MethodRun]
) -> None:
    again = run(method, network, STEPS, **FEW_BITS)
    assert again.files == whole[method].files
    assert [point.losses for point in again.tuned.curves] == [point.losses for point in whole[method].tuned.curves]
    other = run(method, network, STEPS, **(FEW_BITS | {"seed": 6}))
    assert other.files[1] != whole[method].files[1]


@every
@pytest.mark.parametrize("killed_after", [3, 9])
def test_a_resumed_run_equals_an_uninterrupted_one(
    method: QuantizationMethod, killed_after: int, network: PreparedNetwork, whole: dict[QuantizationMethod, MethodRun]
) -> None:
    callbacks = RecordingCallbacks(every=2, killed_after=killed_after)
    with pytest.raises(KilledError):
        run(method, network, STEPS, callbacks, **FEW_BITS)
    again = RecordingCallbacks(every=2, checkpoint=callbacks.checkpoint)
    resumed = run(method, network, STEPS, again, **FEW_BITS)
    assert len(again.reports) == STEPS - killed_after // 2 * 2, "it went on from the last checkpoint"
    expected = whole[method]
    assert resumed.files == expected.files
    assert resumed.tuned.tuning.resumed == 1
    timeless: dict[str, Any] = {"seconds": True, "phases": {"__all__": {"seconds"}}, "resumed": True}
    assert resumed.tuned.tuning.model_dump(exclude=timeless) == expected.tuned.tuning.model_dump(exclude=timeless)
    assert [point.model_dump(exclude={"seconds"}) for point in resumed.tuned.curves] == [
        point.model_dump(exclude={"seconds"}) for point in expected.tuned.curves
    ]
    for made, wanted in (
        (resumed.tuned.synthetic, expected.tuned.synthetic),
        (resumed.tuned.held_out, expected.tuned.held_out),
    ):
        assert (made is None) == (wanted is None)
        assert made is None or wanted is None or torch.equal(made, wanted)


@every
@pytest.mark.parametrize(
    ("weight_bits", "activation_bits", "granularity"),
    [(8, 8, "channel"), (4, 5, "channel"), (3, 8, "tensor"), (2, 2, "channel")],
)
def test_every_weight_and_activation_has_the_target_bits(
    method: QuantizationMethod, weight_bits: int, activation_bits: int, granularity: str, network: PreparedNetwork
) -> None:
    ran = run(
        method,
        network,
        6,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        weight_granularity=granularity,
    )
    layers = {node.output[0] for node in network.model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    assert ran.trainer.ready
    for plan in (ran.tuned.plan, ran.trainer.student.plan()):
        assert bits_of(plan) == {"weights": {weight_bits}, "full": {activation_bits}, "wide": {8}, "input": {8}}
        assert len(plan.weights) == len(layers), "no layer is left in float"
        assert len(plan.activations) == len(plan.sites.activations)
        per_channel = {quantizer.axis is not None for quantizer in plan.weights.values()}
        assert per_channel == {granularity == "channel"}


@every
def test_a_run_ended_early_has_the_target_bits(method: QuantizationMethod, network: PreparedNetwork) -> None:
    ran = run(method, network, STEPS, RecordingCallbacks(stop_after=STEPS // 2), **FEW_BITS)
    assert ran.tuned.tuning.ended_by == "request"
    assert ran.trainer.ready
    assert bits_of(ran.trainer.student.plan()) == {"weights": {2}, "full": {3}, "wide": {8}, "input": {8}}
    assert ran.tuned.tuning.agreement is not None, "it was compared with rounding alone"


def share_alike(answers: Floats, expected: Floats) -> float:
    """Return the share of inputs that two networks answer alike; a rounding tie may make all that follows differ."""
    close = np.isclose(answers, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return float(close.all(axis=1).mean())


@every
def test_the_exported_network_equals_the_simulated_one(
    method: QuantizationMethod, whole: dict[QuantizationMethod, MethodRun], digits: Digits
) -> None:
    inputs = digits.images[:128]
    for plan in (whole[method].tuned.plan, whole[method].trainer.student.plan()):
        simulated = SimulatedNetwork(plan).run({"image": inputs})
        [expected] = simulated.values()
        assert share_alike(served(plan, inputs), expected) > 0.9


@every
def test_the_trained_network_equals_the_exported_one(
    method: QuantizationMethod, whole: dict[QuantizationMethod, MethodRun], digits: Digits
) -> None:
    """The network in the loop rounds what the served one rounds, biases included."""
    student = whole[method].trainer.student
    inputs = digits.images[:128]
    with torch.no_grad():
        [expected] = student(torch.from_numpy(inputs)).values()
    assert share_alike(served(student.plan(), inputs), expected.numpy()) > 0.9


@every
def test_only_synthesized_inputs_are_returned(
    method: QuantizationMethod, whole: dict[QuantizationMethod, MethodRun]
) -> None:
    tuned = whole[method].tuned
    space = whole[method].trainer.session.space
    assert space is not None
    assert (tuned.synthetic is None) == (method is QuantizationMethod.FT)
    if tuned.synthetic is not None:
        assert tuned.synthetic.shape[1:] == (1, 8, 8)
        assert torch.equal(space.clamp(tuned.synthetic), tuned.synthetic), "pixels from black to white"


@without_batch_norm_too
def test_a_network_without_batch_norm(method: QuantizationMethod, digits: Digits) -> None:
    network = prepared_for(without_batch_norm(digits.model), CLASSIFIER, digits.calibration[:64])
    assert not network.statistics
    ran = run(method, network, 8, weight_bits=4, activation_bits=4)
    assert bits_of(ran.trainer.student.plan())["weights"] == {4}
    assert ran.tuned.tuning.agreement is not None


@every
def test_a_network_for_signals(method: QuantizationMethod) -> None:
    signals = np.random.default_rng(0).normal(size=(32, 2, 24)).astype(np.float32)
    ran = run(method, prepared_for(signal_network(), SIGNALS, signals), 8, weight_bits=4, activation_bits=4)
    assert ran.trainer.ready
    assert ran.tuned.tuning.agreement is not None
    if ran.tuned.synthetic is not None:
        assert ran.tuned.synthetic.shape[1:] == (2, 24)


@without_batch_norm_too
def test_a_network_with_several_outputs(method: QuantizationMethod) -> None:
    """One that gives boxes and a mask, and integers that nothing can be learned from."""
    images = np.random.default_rng(0).normal(size=(24, 3, 16, 16)).astype(np.float32)
    ran = run(method, prepared_for(two_headed(), IMAGES, images), 8, weight_bits=4, activation_bits=4)
    assert ran.trainer.session.heads.others == ("boxes", "mask")
    assert ran.tuned.tuning.agreement is not None
    assert [value.name for value in ran.tuned.plan.model.graph.output] == ["boxes", "mask", "best"]


@without_batch_norm_too
def test_a_network_of_a_single_layer(method: QuantizationMethod) -> None:
    net = GraphBuilder(["batch", 2, 6])
    net.add("Flatten", net.last)
    net.add("Gemm", net.last, net.weight(3, 12), transB=1)
    signals = np.random.default_rng(0).normal(size=(24, 2, 6)).astype(np.float32)
    ran = run(method, prepared_for(net.build(), SIGNALS, signals), 8, weight_bits=4, activation_bits=4)
    assert bits_of(ran.trainer.student.plan())["weights"] == {4}

"""The trainable quantized network: it computes what is exported, with gradients."""

from typing import Any

import numpy as np
import pytest
import torch

from faceter.graphs.qdq import write_qdq
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from tests.graphs.builders import GraphBuilder, residual_net
from tests.workers.quantization.mixed.networks import two_headed
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import (
    IMAGES,
    SIGNALS,
    digest,
    prepared_for,
    signal_network,
)
from workers.quantization.aciq import ACIQ
from workers.quantization.rq import RawQuantization
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.tuning.student.network import QuantizedNetwork


def plans() -> dict[str, QuantizationPlan]:
    """Return plans of all kinds."""
    residual, detector = (prepared_for(model, IMAGES) for model in (residual_net(), two_headed()))
    signals = prepared_for(signal_network(), SIGNALS)
    raw, clipped = RawQuantization(), ACIQ()
    return {
        "W8A8": raw(residual, request_for()).plan,
        "W4A4 per tensor": raw(
            residual, request_for(weight_bits=4, activation_bits=4, weight_granularity="tensor")
        ).plan,
        "W2A3": clipped(residual, request_for(weight_bits=2, activation_bits=3)).plan,
        "several outputs": raw(detector, request_for(weight_bits=3, activation_bits=4)).plan,
        "signals": clipped(signals, request_for(weight_bits=4, activation_bits=3)).plan,
    }


PLANS = plans()
every_plan = pytest.mark.parametrize("name", PLANS)


def inputs_for(plan: QuantizationPlan, count: int = 16) -> tuple[str, torch.Tensor]:
    value = plan.model.graph.input[0]
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
    return value.name, torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


@every_plan
def test_without_a_step_the_plan_is_returned_byte_for_byte(name: str) -> None:
    plan = PLANS[name]
    for learned_steps in (True, False):
        network = QuantizedNetwork(plan, learned_steps=learned_steps)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        back = network.plan()
        assert digest(back) == digest(plan)
        assert write_qdq(back).SerializeToString() == write_qdq(plan).SerializeToString()
        assert back.sites == plan.sites


@every_plan
def test_it_computes_what_the_simulated_network_does(name: str) -> None:
    plan = PLANS[name]
    input_name, x = inputs_for(plan)
    tensors = [tensor for site in plan.sites.activations for tensor in site.tensors]
    expected = SimulatedNetwork(plan).run({input_name: x.numpy()}, watch=tensors)
    with torch.no_grad():
        found = QuantizedNetwork(plan)(x, watch=tensors)
    assert found.keys() == expected.keys()
    alike = np.ones(len(x), np.bool_)
    for tensor in tensors:
        off = np.abs(found[tensor].numpy() - expected[tensor]).reshape(len(x), -1)
        scale = float(plan.replacements()[tensor].scale)
        assert off[alike].max(initial=0) <= 1.01 * scale, "more than a rounding tie, with everything before it equal"
        alike &= off.max(axis=1) < 0.5 * scale
    assert alike.mean() > 0.8


@every_plan
def test_everything_that_is_quantized_is_trained(name: str) -> None:
    plan = PLANS[name]
    network = QuantizedNetwork(plan)
    _, x = inputs_for(plan)
    found = network(x)
    squares = [value.float().square().mean() for value in found.values() if value.is_floating_point()]
    torch.autograd.backward(torch.stack(squares).sum())
    for step in (*network.weight_steps(), *network.activation_steps()):
        assert step.grad is not None
        assert torch.isfinite(step.grad).all()
    view = GraphView(plan.model)
    values = network.network.trainable()
    assert set(plan.weights) <= set(values)
    for weight in plan.weights:
        assert values[weight].grad is not None
        assert values[weight].grad.abs().sum() > 0  # type: ignore[union-attr]
        for node in view.consumers[weight]:
            if len(node.input) > 2:
                assert values[node.input[2]].grad is not None, "biases too, though they are rounded"


def test_a_relu_before_an_unsigned_quantizer_is_removed() -> None:
    plan = PLANS["W2A3"]
    assert {node.op_type for node in plan.model.graph.node} >= {"Relu"}
    network = QuantizedNetwork(plan)
    unsigned = [
        name
        for site in plan.sites.activations
        for name in site.tensors
        if plan.activations[site.name].zero_point == plan.activations[site.name].qmin
    ]
    clamped = {node.output[0] for node in plan.model.graph.node if node.op_type == "Relu"} & set(unsigned)
    assert clamped
    _, x = inputs_for(plan)
    with torch.no_grad():
        lowest = {name: float(values.min()) for name, values in network(x, watch=sorted(clamped)).items()}
    found = network(x)
    assert all(lowest[name] == 0 for name in clamped)
    assert not any("ReluBackward" in type(step).__name__ for step in history(found["logits"]))
    assert {node.op_type for node in network.model().graph.node} >= {"Relu"}, "what is served keeps it"


def history(value: torch.Tensor) -> list[object]:
    """Return every step of autograd that led to a tensor."""
    steps: list[object] = []
    ahead: list[Any] = [value.grad_fn]
    while ahead:
        step = ahead.pop()
        if step is not None and step not in steps:
            steps.append(step)
            ahead += [before for before, _ in step.next_functions]
    return steps


def test_straight_through_trains_weights_and_biases_alone() -> None:
    network = QuantizedNetwork(PLANS["W8A8"], learned_steps=False)
    _, x = inputs_for(PLANS["W8A8"])
    network(x)["logits"].square().sum().backward()
    assert all(step.grad is None for step in (*network.weight_steps(), *network.activation_steps()))
    assert all(value.grad is not None for value in network.weights_and_biases())


def test_the_new_plan_has_the_trained_values_and_the_old_is_not_changed() -> None:
    plan = PLANS["W4A4 per tensor"]
    before = digest(plan)
    network = QuantizedNetwork(plan)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    _, x = inputs_for(plan)
    for _ in range(3):
        optimizer.zero_grad()
        network(x)["logits"].square().mean().backward()
        optimizer.step()
    made = network.plan()
    assert digest(plan) == before
    with torch.no_grad():
        expected = network(x)["logits"].numpy()
        again = QuantizedNetwork(made)(x)["logits"].numpy()
    np.testing.assert_array_equal(again, expected)
    for name, value in network.network.trainable().items():
        np.testing.assert_array_equal(GraphView(made.model).constant(name), value.detach().numpy())
    assert all(made.weights[name].scale != plan.weights[name].scale for name in plan.weights)
    assert network.model().SerializeToString() == made.model.SerializeToString()


def test_tensors_that_share_codes_share_a_step() -> None:
    """Summands and their concatenation have one quantizer; training must not part them."""
    net = GraphBuilder(["batch", 3, 8, 8], name="image")
    net.conv(4, 3)
    left = net.add("Relu")
    right = net.conv(4, 3, source="image")
    net.add("Concat", left, right, axis=1)
    net.conv(2, 8)
    plan = RawQuantization()(prepared_for(net.build(), IMAGES), request_for(activation_bits=4)).plan
    network = QuantizedNetwork(plan)
    shared = [site for site in plan.sites.activations if len(site.tensors) > 1]
    assert shared
    assert len(network.activation_steps()) == len(plan.activations)


def test_a_fixed_batch_becomes_dynamic() -> None:
    net = GraphBuilder([1, 3, 8, 8], name="image")
    net.conv(4, 3)
    net.add("Relu")
    net.add("Reshape", net.last, net.constant(np.array([1, 256])))
    net.add("Gemm", net.last, net.weight(5, 256), net.weight(5), transB=1)
    plan = RawQuantization()(prepared_for(net.build(), IMAGES), request_for()).plan
    network = QuantizedNetwork(plan)
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        [together] = network(x).values()
        alone = torch.cat([next(iter(network(part).values())) for part in torch.split(x, 1)])
    torch.testing.assert_close(together, alone)
    assert digest(network.plan()) == digest(plan), "what is served keeps its batch"

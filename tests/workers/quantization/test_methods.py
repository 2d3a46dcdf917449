"""What holds for every method on one network: what ONNX Runtime serves, seeds, calibration data."""

from functools import cache

import numpy as np
import pytest

from faceter.contracts.quantizations import Granularity, QuantizationMethod
from faceter.graphs.qdq import write_qdq
from tests.graphs.builders import residual_net, run_optimized, with_outputs
from tests.workers.quantization.networks import prepared_for, request_for, served
from workers.model_input import Batch
from workers.quantization.method import MethodResult
from workers.quantization.methods import methods, tuned_methods
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.simulate import SimulatedNetwork


@cache
def prepared(seed: int) -> PreparedNetwork:
    return prepared_for(residual_net(seed), seed)


def outcome(method: QuantizationMethod, seed: int, **fields: object) -> MethodResult:
    return methods[method](prepared(seed), request_for(**fields))


def test_every_method_of_the_contract_is_there() -> None:
    assert set(methods) | set(tuned_methods) == set(QuantizationMethod)
    assert set(tuned_methods) == {method for method in QuantizationMethod if method.tuned}


@pytest.mark.parametrize("method", list(methods))
@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("granularity", Granularity)
def test_what_is_served_equals_the_simulated_network(
    method: QuantizationMethod, bits: int, granularity: Granularity
) -> None:
    plan = outcome(method, 1, weight_bits=bits, activation_bits=bits, weight_granularity=granularity).plan
    inputs = np.random.default_rng(9).normal(0, 1, (256, 3, 16, 16)).astype(np.float32)
    written = write_qdq(plan)
    made = {name for node in written.graph.node for name in node.output}
    tensors = [name for site in plan.sites.activations for name in site.tensors if name in made]
    assert len(tensors) >= 6
    simulated = SimulatedNetwork(plan).run({"image": inputs}, watch=tensors)
    answers = served(plan, inputs)
    agree = answers.argmax(axis=1) == simulated["logits"].argmax(axis=1)
    assert agree.mean() >= 0.999
    inner = run_optimized(with_outputs(written, tensors), image=inputs)[-len(tensors) :]
    alike = np.ones(len(inputs), np.bool_)
    for name, values in zip(tensors, inner, strict=True):
        site = plan.sites.activation(name)
        assert site is not None
        steps = np.abs(values - simulated[name]) / plan.activations[site.name].scale
        by_input = steps.reshape(len(inputs), -1).max(axis=1)
        assert by_input[alike].max() <= 1.01, "more than a rounding tie, with everything before it equal"
        assert (steps > 0.5).mean() < 0.001
        alike &= by_input < 0.5
    assert alike.mean() > 0.9


@pytest.mark.parametrize("method", list(methods))
def test_equal_seeds_make_equal_plans(method: QuantizationMethod) -> None:
    plans = [methods[method](prepared_for(residual_net(2), seed=3), request_for(weight_bits=4)).plan for _ in range(2)]
    assert write_qdq(plans[0]).SerializeToString() == write_qdq(plans[1]).SerializeToString()


@pytest.mark.parametrize("method", list(methods))
def test_calibration_data_are_used_where_given(method: QuantizationMethod) -> None:
    small: list[Batch] = [{"image": 0.01 * np.random.default_rng(0).normal(size=(8, 3, 16, 16)).astype(np.float32)}]
    made = methods[method](prepared_for(residual_net(0), batches=small), request_for())
    assert any("calibration data" in note for note in made.warnings)
    without = outcome(method, 0)
    name = made.plan.sites.activations[1].name
    assert made.plan.activations[name].high < without.plan.activations[name].high

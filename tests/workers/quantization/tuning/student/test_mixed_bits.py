"""Distillation of mixed-precision networks, from float or already tuned weights."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from faceter.graphs.quantization_plan import QuantizationPlan
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import CPU, distillation_step, prepared_for
from workers.quantization.mixed.bit_allocation import with_weight_bits
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.bit_schedule import bit_schedule
from workers.quantization.tuning.student.distillation import Distillation, DistillationSettings

BITS = (2, 8, 3, 5, 4, 6)


@pytest.fixture(scope="module")
def network(digits: Digits) -> PreparedNetwork:
    return prepared_for(digits.model)


@pytest.fixture
def session(network: PreparedNetwork) -> TuningSession:
    return TuningSession(network, request_for(weight_bits=8, activation_bits=8), CPU)


def mixed_plan(network: PreparedNetwork) -> QuantizationPlan:
    plan = RawQuantization()(network, request_for()).plan
    return with_weight_bits(plan, dict(zip(plan.weights, BITS, strict=True)))


def bits_of(distillation: Distillation) -> list[int]:
    return [quantizer.bits for quantizer in distillation.student.plan().weights.values()]


def test_each_weight_falls_to_its_own_bits(network: PreparedNetwork, session: TuningSession) -> None:
    distillation = Distillation(session, mixed_plan(network), DistillationSettings())
    assert session.space is not None
    x = session.to_device(session.space.noise(16, 0))
    seen = {}
    for fraction in (0.0, 0.3, 0.6, 0.9):
        distillation_step(distillation, x, fraction, 1.0, x)
        seen[distillation.stage.name] = bits_of(distillation)
    assert seen == {
        "tuning W4+A8": [max(4, count) for count in BITS],
        "tuning W3+A8": [max(3, count) for count in BITS],
        "tuning W2+A8": list(BITS),
    }
    assert distillation.ready
    again = Distillation(session, mixed_plan(network), DistillationSettings())
    again.restore(distillation.state())
    assert bits_of(again) == list(BITS)
    for name, value in distillation.student.state_dict().items():
        assert torch.equal(again.student.state_dict()[name], value)


def test_it_begins_with_rounded_or_float_weights(network: PreparedNetwork, session: TuningSession) -> None:
    plan = mixed_plan(network)
    tuned = onnx.ModelProto()
    tuned.CopyFrom(plan.model)
    first = next(iter(plan.weights))
    for tensor in tuned.graph.initializer:
        if tensor.name == first:
            tensor.CopyFrom(
                numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(tensor)[..., ::-1]), first)
            )
    start = replace(plan, model=tuned)
    assert session.space is not None
    x = session.to_device(session.space.noise(16, 0))
    for from_start, origin in ((True, tuned), (False, plan.model)):
        distillation = Distillation(session, start, DistillationSettings(from_start=from_start))
        distillation_step(distillation, x, 0.0, 0.0, x)
        [before] = [numpy_helper.to_array(item) for item in origin.graph.initializer if item.name == first]
        now = distillation.student.network.parameter(first).detach().numpy()
        np.testing.assert_allclose(unit_channels(now), unit_channels(before), atol=1e-5)


def unit_channels(weight: np.ndarray) -> np.ndarray:
    """Return each channel at norm 1: a channel's moments are matched by a factor on its weights."""
    rows = weight.reshape(len(weight), -1)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_stages_of_a_mixed_network_are_those_of_its_fewest_bits() -> None:
    for bits in range(2, 9):
        plain, mixed = (bit_schedule(bits, 8, last_share=0.5, mixed=told) for told in (False, True))
        assert [replace(stage, mixed=False) for stage in mixed] == plain
        assert all("+" in stage.name for stage in mixed)
        assert not any("+" in stage.name for stage in plain)

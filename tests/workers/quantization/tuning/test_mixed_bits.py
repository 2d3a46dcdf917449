"""Distillation of networks whose weights have bits of their own, and from weights that were tuned before."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from faceter.graphs.qdq import QuantizationPlan
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.methods_at_work import CPU, distilled, prepared_for
from workers.quantization.mixed.assignment import with_weight_bits
from workers.quantization.prepared import Prepared
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.distillation import Distillation, Recipe
from workers.quantization.tuning.ladder import stages
from workers.quantization.tuning.session import Session

BITS = (2, 8, 3, 5, 4, 6)


@pytest.fixture(scope="module")
def network(digits: Digits) -> Prepared:
    return prepared_for(digits.model)


@pytest.fixture
def session(network: Prepared) -> Session:
    return Session(network, request_for(weight_bits=8, activation_bits=8), CPU)


def mixed_plan(network: Prepared) -> QuantizationPlan:
    plan = RawQuantization()(network, request_for()).plan
    return with_weight_bits(plan, dict(zip(plan.weights, BITS, strict=True)))


def bits_of(distillation: Distillation) -> list[int]:
    return [quantizer.bits for quantizer in distillation.student.plan().weights.values()]


def test_each_weight_goes_down_to_its_own_bits_and_stays(network: Prepared, session: Session) -> None:
    distillation = Distillation(session, mixed_plan(network), Recipe())
    assert session.space is not None
    x = session.arranged(session.space.noise(16, 0))
    seen = {}
    for fraction in (0.0, 0.3, 0.6, 0.9):
        distilled(distillation, x, fraction, 1.0, x)
        seen[distillation.stage.name] = bits_of(distillation)
    assert seen == {
        "tuning W4+A8": [max(4, count) for count in BITS],
        "tuning W3+A8": [max(3, count) for count in BITS],
        "tuning W2+A8": list(BITS),
    }
    assert distillation.ready
    again = Distillation(session, mixed_plan(network), Recipe())
    again.restore(distillation.state())
    assert bits_of(again) == list(BITS)
    for name, value in distillation.student.state_dict().items():
        assert torch.equal(again.student.state_dict()[name], value)


def test_it_begins_with_the_weights_it_is_asked_to(network: Prepared, session: Session) -> None:
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
    x = session.arranged(session.space.noise(16, 0))
    for from_start, origin in ((True, tuned), (False, plan.model)):
        distillation = Distillation(session, start, Recipe(from_start=from_start))
        distilled(distillation, x, 0.0, 0.0, x)
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
        plain, mixed = (stages(bits, 8, last=0.5, mixed=told) for told in (False, True))
        assert [replace(stage, mixed=False) for stage in mixed] == plain
        assert all("+" in stage.name for stage in mixed)
        assert not any("+" in stage.name for stage in plain)

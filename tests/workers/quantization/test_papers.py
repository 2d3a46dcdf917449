"""Each paper's central claim, on served graphs."""

import numpy as np
import pytest

from faceter.contracts.quantizations import Granularity, QuantizationMethod
from tests.workers.quantization.networks import Digits, accuracy, outputs_of, prepared_for, request_for, served
from workers.quantization.aciq import ACIQ
from workers.quantization.affine import min_max_weight_quantizer
from workers.quantization.dfq import DFQ
from workers.quantization.methods import methods


def test_badly_scaled_channels_leave_the_float_network_as_it_was(digits: Digits) -> None:
    good, bad = (outputs_of(model, digits.images) for model in (digits.model, digits.badly_scaled))
    np.testing.assert_allclose(bad, good, atol=1e-3 * np.abs(good).max())
    assert accuracy(good, digits.classes) > 0.95


def test_dfq_recovers_a_badly_scaled_depthwise_network_at_8_bits_per_tensor(digits: Digits) -> None:
    """DFQ, table 1: MobileNetV2 at INT8 per tensor, 0.1 % raw and 71.2 % with DFQ, of 71.7 % in float."""
    whole = accuracy(outputs_of(digits.badly_scaled, digits.images), digits.classes)
    prepared = prepared_for(digits.badly_scaled)
    request = request_for(weight_granularity="tensor")
    scores = {
        method: accuracy(served(methods[method](prepared, request).plan, digits.images), digits.classes)
        for method in (QuantizationMethod.RQ, QuantizationMethod.DFQ)
    }
    assert scores[QuantizationMethod.RQ] < whole - 0.1
    assert scores[QuantizationMethod.DFQ] > whole - 0.02


def test_equalization_is_what_recovers_it(digits: Digits) -> None:
    whole = accuracy(outputs_of(digits.badly_scaled, digits.images), digits.classes)
    request = request_for(weight_granularity="tensor")
    without = DFQ(equalization=False)(prepared_for(digits.badly_scaled), request)
    assert accuracy(served(without.plan, digits.images), digits.classes) < whole - 0.1


@pytest.mark.parametrize("draw", ["normal", "laplace"])
@pytest.mark.parametrize("granularity", Granularity)
def test_aciq_at_4_bits_errs_less_than_min_max(draw: str, granularity: Granularity) -> None:
    rng = np.random.default_rng(1)
    weights = getattr(rng, draw)(size=(32, 16, 3, 3)).astype(np.float32) * rng.uniform(0.02, 0.4, (32, 1, 1, 1))
    weights = weights.astype(np.float32)
    request = request_for(weight_bits=4, weight_granularity=granularity)
    clipped = ACIQ().quantize_weight(weights, request, 0)
    covering = min_max_weight_quantizer(weights, 4, granularity)
    errors = [float(np.square(q.fake(weights) - weights).mean()) for q in (clipped, covering)]
    assert errors[0] < 0.85 * errors[1]


def test_allocating_bits_errs_less_than_equal_bits_of_the_same_mean() -> None:
    rng = np.random.default_rng(2)
    weights = (rng.normal(size=(32, 144)) * np.geomspace(0.02, 0.5, 32)[:, None]).astype(np.float32)
    request = request_for(weight_bits=4)
    allotted, equal = (ACIQ(allocate=allocate).quantize_weight(weights, request, 0) for allocate in (True, False))
    assert allotted.channel_bits is not None
    assert allotted.channel_bits.mean() <= 4
    errors = [float(np.square(q.fake(weights) - weights).mean()) for q in (allotted, equal)]
    assert errors[0] < errors[1]

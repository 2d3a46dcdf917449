"""Scales of least squared error against brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from faceter.contracts.quantizations import Granularity
from faceter.graphs.quantizer import Array, Quantizer
from tests.workers.quantization.networks import Digits, request_for
from tests.workers.quantization.tuning.light_methods import CPU, prepared_for
from workers.quantization.affine import activation_quantizer, min_max_weight_quantizer
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.mse_quantizers import (
    mse_activation_quantizers,
    mse_rounded_plan,
    mse_weight_quantizer,
)

SHARES = [1 - index / 40 for index in range(33)]
"""Clipping ratios from the whole range to a fifth of it."""


def squared_error(quantizer: Quantizer, values: Array) -> float:
    return float(np.square(quantizer.fake(values).astype(np.float64) - values).sum())


def brute_force(values: Array, bits: int, granularity: Granularity, axis: int) -> Array:
    """Return the least error over steps that cover from 20 to 100 % of the range, of each channel on its own."""
    if granularity is Granularity.TENSOR:
        whole = min_max_weight_quantizer(values, bits, granularity)
        tried = [replace(whole, scale=whole.scale * np.float32(share)) for share in SHARES]
        return np.array([min(squared_error(quantizer, values) for quantizer in tried)])
    least = []
    for channel in range(values.shape[axis]):
        own = np.take(values, [channel], axis)
        whole = min_max_weight_quantizer(own, bits, granularity, axis=axis)
        tried = [replace(whole, scale=whole.scale * np.float32(share)) for share in SHARES]
        least.append(min(squared_error(quantizer, own) for quantizer in tried))
    return np.array(least)


@settings(max_examples=25, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    bits=st.integers(2, 8),
    granularity=st.sampled_from(Granularity),
    axis=st.integers(0, 1),
    laplace=st.booleans(),
)
def test_weight_scales_equal_those_of_brute_force(
    seed: int, bits: int, granularity: Granularity, axis: int, laplace: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 5, 3)
    values = rng.laplace(size=shape) if laplace else rng.normal(size=shape)
    values *= np.exp(rng.uniform(-3, 3, (4, 1, 1)))
    weights = values.astype(np.float32)
    made = mse_weight_quantizer(weights, bits, granularity, axis)
    assert made.bits == bits
    errors = np.square(made.fake(weights).astype(np.float64) - weights)
    if granularity is Granularity.TENSOR:
        assert made.axis is None
        found = np.array([errors.sum()])
    else:
        assert made.axis == axis
        found = np.moveaxis(errors, axis, 0).reshape(shape[axis], -1).sum(axis=1)
    np.testing.assert_allclose(found, brute_force(weights, bits, granularity, axis), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("granularity", Granularity)
def test_a_zero_channel_stays_zero(granularity: Granularity) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    weights[1] = 0
    made = mse_weight_quantizer(weights, 3, granularity, 0)
    assert np.all(made.scale > 0)
    np.testing.assert_array_equal(made.fake(weights)[1], 0)
    zeros = mse_weight_quantizer(np.zeros((3, 8), np.float32), 3, granularity, 0)
    np.testing.assert_array_equal(zeros.fake(np.zeros((3, 8), np.float32)), 0)


@pytest.fixture(scope="module")
def network(digits: Digits) -> PreparedNetwork:
    return prepared_for(digits.model)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activation_ranges_equal_those_of_brute_force(bits: int, network: PreparedNetwork, digits: Digits) -> None:
    session = TuningSession(network, request_for(activation_bits=bits), CPU)
    x = torch.from_numpy(digits.calibration[:32])
    made = mse_activation_quantizers(session, x, bits)
    assert made.keys() == {site.name for site in session.sites.activations}
    seen = session.teacher_outputs(x, list(made))
    for site in session.sites.activations:
        quantizer = made[site.name]
        assert quantizer.bits == (bits if site.role == "full" else 8)
        assert quantizer.scale.shape == ()
        assert not quantizer.signed
        values = seen[site.name].float().numpy()
        low, high = float(values.min()), float(values.max())
        tried = [activation_quantizer(low * share, high * share, quantizer.bits) for share in SHARES]
        assert squared_error(quantizer, values) == pytest.approx(min(squared_error(item, values) for item in tried))


def test_a_large_tensor_is_sampled_uniformly(network: PreparedNetwork) -> None:
    """Every so-manieth value would be the same column of every image, where only its edge might be seen."""
    from workers.quantization.tuning.student.mse_quantizers import _MAX_VALUES, _sample

    columns = torch.arange(32.0).expand(64, 4, 32, 32)
    found = _sample(columns)
    assert found.numel() == _MAX_VALUES
    counts = torch.bincount(found.long(), minlength=32) / _MAX_VALUES
    torch.testing.assert_close(counts, torch.full((32,), 1 / 32), rtol=0.1, atol=0)
    small = torch.rand(3, 5)
    assert torch.equal(_sample(small), small.reshape(-1))


def test_bits_are_given_for_all_weights_or_for_each(network: PreparedNetwork) -> None:
    session = TuningSession(network, request_for(), CPU)
    activations = mse_activation_quantizers(session, torch.zeros(2, 1, 8, 8), 8)
    names = [site.name for site in session.sites.weights]
    bits = {name: 2 + index for index, name in enumerate(names)}
    alike = mse_rounded_plan(network.model, session.sites, activations, 5, Granularity.CHANNEL)
    each = mse_rounded_plan(network.model, session.sites, activations, bits, Granularity.TENSOR)
    assert {quantizer.bits for quantizer in alike.weights.values()} == {5}
    assert {name: quantizer.bits for name, quantizer in each.weights.items()} == bits
    assert alike.model is network.model
    assert all(quantizer.axis is None for quantizer in each.weights.values())

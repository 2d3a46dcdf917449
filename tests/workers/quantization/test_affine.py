"""Properties of affine quantizers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faceter.contracts.quantizations import Granularity
from faceter.graphs.quantizer import Quantizer
from workers.quantization.affine import (
    activation_quantizer,
    channel_weight_quantizer,
    fake_quantize,
    min_max_weight_quantizer,
    tensor_weight_quantizer,
)

FLOATS = st.floats(-1000, 1000, width=32, allow_subnormal=False)
WEIGHTS = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=FLOATS)
BITS = st.integers(2, 8)


def quantizers(weights: np.ndarray, bits: int) -> list[Quantizer]:
    return [
        activation_quantizer(float(weights.min()), float(weights.max()), bits),
        *(min_max_weight_quantizer(weights, bits, granularity) for granularity in Granularity),
    ]


@settings(max_examples=150, deadline=None)
@given(WEIGHTS, BITS)
def test_inside_the_range_the_error_is_at_most_half_a_step(weights: np.ndarray, bits: int) -> None:
    for q in quantizers(weights, bits):
        scale = q.scale.reshape([-1] + [1] * (weights.ndim - 1)) if q.axis == 0 else q.scale
        error = np.abs(q.fake(weights).astype(np.float64) - weights)
        assert np.all(error <= 0.5 * scale * (1 + 1e-5) + 1e-6 * np.abs(weights))


@settings(max_examples=100, deadline=None)
@given(WEIGHTS, BITS)
def test_zero_is_exact_and_quantizing_twice_changes_nothing(weights: np.ndarray, bits: int) -> None:
    for q in quantizers(weights, bits):
        np.testing.assert_array_equal(q.fake(np.zeros_like(weights)), 0)
        once = q.fake(weights)
        np.testing.assert_array_equal(q.fake(once), once)


@settings(max_examples=100, deadline=None)
@given(WEIGHTS, BITS)
def test_quantizers_are_monotone(weights: np.ndarray, bits: int) -> None:
    q = activation_quantizer(float(weights.min()), float(weights.max()), bits)
    ordered = np.sort(weights.reshape(-1))
    assert np.all(np.diff(q.quantize(ordered).astype(int)) >= 0)


@settings(max_examples=100, deadline=None)
@given(WEIGHTS, BITS)
def test_torch_and_numpy_quantize_alike(weights: np.ndarray, bits: int) -> None:
    for q in quantizers(weights, bits):
        np.testing.assert_array_equal(fake_quantize(torch.from_numpy(weights), q).numpy(), q.fake(weights))


@pytest.mark.parametrize("granularity", Granularity)
def test_two_bits_are_four_levels(granularity: Granularity) -> None:
    weights = np.linspace(-1, 1, 400, dtype=np.float32).reshape(2, 200)
    codes = min_max_weight_quantizer(weights, 2, granularity).quantize(weights)
    assert sorted(set(codes.reshape(-1).tolist())) == [-2, -1, 0, 1]


def test_ties_round_half_to_even() -> None:
    q = activation_quantizer(0.0, 255.0, 8)
    np.testing.assert_array_equal(q.quantize(np.array([0.5, 1.5, 2.5, 3.5], np.float32)), [0, 2, 2, 4])


def test_a_range_is_widened_to_contain_zero() -> None:
    assert activation_quantizer(2.0, 6.0, 4).low == 0.0
    assert tensor_weight_quantizer(-6.0, -2.0, 4).high == 0.0


def test_channels_have_their_own_scales_and_bits() -> None:
    q = channel_weight_quantizer(np.array([-1.0, -0.5]), np.array([1.0, 0.25]), np.array([4, 2]))
    np.testing.assert_allclose(q.scale, [1 / 7.5, 0.5 / 2.5], rtol=1e-6)
    np.testing.assert_array_equal(q.qmax, [7, 1])


def test_a_channel_of_zeros_stays_zero() -> None:
    weights = np.zeros((2, 3), np.float32)
    for granularity in Granularity:
        np.testing.assert_array_equal(min_max_weight_quantizer(weights, 4, granularity).fake(weights), 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["normal", "laplace", "uniform"]))
def test_more_bits_are_never_worse(seed: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    weights = getattr(rng, shape)(size=(4, 500)).astype(np.float32)
    for granularity in Granularity:
        errors = [
            float(np.square(min_max_weight_quantizer(weights, bits, granularity).fake(weights) - weights).mean())
            for bits in range(2, 9)
        ]
        assert errors == sorted(errors, reverse=True)

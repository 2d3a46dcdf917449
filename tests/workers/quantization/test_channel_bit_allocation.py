"""Bit allocation among channels keeps its budget; bias correction restores mean and norm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references.clipping import (
    gaussian_mse,
)
from workers.quantization.channel_bit_allocation import allocate_bits, weight_bias_correction
from workers.quantization.clipping import Distribution, optimal_clip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.floats(0, 100, allow_nan=False, allow_subnormal=False), min_size=1, max_size=40),
    st.integers(2, 8),
)
def test_allocation_keeps_its_budget_and_its_order(alphas: list[float], mean_bits: int) -> None:
    clips = np.array(alphas)
    bits = allocate_bits(clips, mean_bits)
    assert bits.mean() <= mean_bits
    assert bits.min() >= 2
    assert bits.max() <= 8
    order = np.argsort(clips, kind="stable")
    assert all(np.diff(bits[order]) >= 0) or len(set(alphas)) < len(alphas)


def test_equal_channels_get_equal_bits() -> None:
    np.testing.assert_array_equal(allocate_bits(np.full(16, 0.7), 4), np.full(16, 4))


def test_levels_follow_the_two_thirds_power() -> None:
    bits = allocate_bits(np.array([1.0, 8.0, 64.0]), 4)
    np.testing.assert_array_equal(bits, [2, 4, 6])


def test_allocation_lowers_the_total_error_of_uneven_channels() -> None:
    sigmas = np.geomspace(0.01, 1.0, 32)

    def error(bits: np.ndarray) -> float:
        return math.fsum(
            gaussian_mse(s * optimal_clip(Distribution.GAUSSIAN, int(b)), s, int(b))
            for s, b in zip(sigmas, bits, strict=True)
        )

    assert error(allocate_bits(sigmas, 4)) < 0.6 * error(np.full(32, 4))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 30))
def test_bias_correction_restores_mean_and_norm(seed: int, channels: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(channels, size, 3))
    w_hat = np.round(w * 1.5) / 1.5
    mu, xi = weight_bias_correction(w, w_hat)
    centred = w_hat.reshape(channels, -1) + mu[:, None]
    flat = w.reshape(channels, -1)
    np.testing.assert_allclose(centred.mean(1), flat.mean(1), atol=1e-12)
    moved = np.ptp(w_hat.reshape(channels, -1), axis=1) > 0
    restored = xi[:, None] * (centred - centred.mean(1, keepdims=True))
    norms = np.linalg.norm(flat - flat.mean(1, keepdims=True), axis=1)
    np.testing.assert_allclose(np.linalg.norm(restored, axis=1)[moved], norms[moved], rtol=1e-9)


def test_bias_correction_leaves_a_channel_of_equal_codes_alone() -> None:
    mu, xi = weight_bias_correction(np.array([[0.1, 0.2]]), np.array([[0.0, 0.0]]))
    assert xi[0] == 1.0
    assert mu[0] == pytest.approx(0.15)

"""ACIQ's closed forms against slow integrals, its table of α*, bit allocation and bias correction."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references.clipping import best_alpha_on_samples, mse_by_integration, tail_by_integration
from workers.quantization.clipping import (
    ChannelShapes,
    Distribution,
    allocate_bits,
    better_fit,
    clip_value,
    gaussian_mse,
    laplace_mse,
    optimal_clip,
    optimal_range,
    weight_bias_correction,
)

PAPER = {
    Distribution.LAPLACE: {2: 2.83, 3: 3.89, 4: 5.03},
    Distribution.GAUSSIAN: {2: 1.71, 3: 2.15, 4: 2.55},
}
FORMULAS = {Distribution.LAPLACE: laplace_mse, Distribution.GAUSSIAN: gaussian_mse}


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_papers_table_of_optimal_clips_to_two_digits(distribution: Distribution, bits: int) -> None:
    assert optimal_clip(distribution, bits) == pytest.approx(PAPER[distribution][bits], abs=0.0101)


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("bits", [2, 4, 6, 8])
def test_the_optimum_is_a_minimum_of_the_error(distribution: Distribution, bits: int) -> None:
    best = optimal_clip(distribution, bits)
    mse = FORMULAS[distribution]
    assert mse(best, 1.0, bits) < min(mse(best * 1.02, 1.0, bits), mse(best * 0.98, 1.0, bits))


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("alpha", [1.0, 2.5, 5.0])
@pytest.mark.parametrize("scale", [0.3, 2.0])
def test_mse_formulas_equal_integrals(distribution: Distribution, alpha: float, scale: float) -> None:
    expected = mse_by_integration(distribution.value, alpha, scale, bits=4)
    assert FORMULAS[distribution](alpha, scale, 4) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("bits", [3, 4])
def test_the_clip_is_near_the_best_one_found_by_trying_on_samples(distribution: Distribution, bits: int) -> None:
    rng = np.random.default_rng(7)
    draw = rng.laplace if distribution is Distribution.LAPLACE else rng.normal
    samples = draw(0.0, 1.0, 200_000)
    tried, tried_mse = best_alpha_on_samples(samples, bits)
    _, analytic_mse = best_alpha_on_samples(samples, bits, alphas=[optimal_clip(distribution, bits)])
    assert analytic_mse <= 1.05 * tried_mse  # the formula takes rounding for uniform noise
    assert optimal_clip(distribution, bits) == pytest.approx(tried, rel=0.12)


def test_the_better_fit_is_the_distribution_the_data_came_from() -> None:
    rng = np.random.default_rng(3)
    for draw, expected in ((rng.laplace, Distribution.LAPLACE), (rng.normal, Distribution.GAUSSIAN)):
        x = draw(1.0, 2.5, 20_000)
        assert better_fit(float(np.abs(x - x.mean()).mean()), float(x.std())) is expected


def shapes(
    distribution: Distribution, scales: list[float], *, weight: float = 1.0, rounded: float = 1.0
) -> ChannelShapes:
    parameter = np.array(scales)
    return ChannelShapes(
        location=np.zeros(len(scales)),
        absolute_deviation=parameter,
        deviation=parameter,
        laplace=np.full(len(scales), distribution is Distribution.LAPLACE),
        weight=np.full(len(scales), weight),
        rounded=rounded,
    )


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_range_of_one_channel_is_the_papers(distribution: Distribution, bits: int) -> None:
    low, high = optimal_range(shapes(distribution, [1.5]), -99, 99, bits, centre=0.0, one_sided=False)
    assert high == pytest.approx(1.5 * optimal_clip(distribution, bits), rel=1e-4)
    assert low == -high


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("bits", [2, 3, 4, 7])
def test_a_one_sided_range_is_worth_one_more_bit(distribution: Distribution, bits: int) -> None:
    half = shapes(distribution, [1.5], rounded=0.5)
    low, high = optimal_range(half, 0, 99, bits, centre=0.0, one_sided=True)
    assert low == 0
    assert high == pytest.approx(1.5 * optimal_clip(distribution, bits + 1), rel=1e-4)


def test_a_range_never_reaches_beyond_the_values() -> None:
    wide = shapes(Distribution.GAUSSIAN, [1.0])
    assert optimal_range(wide, -0.5, 1.25, 8, centre=0.0, one_sided=False) == (-0.5, 1.25)


@pytest.mark.parametrize("distribution", Distribution)
@pytest.mark.parametrize("distance", [-1.5, 0.0, 0.7, 3.0])
def test_tail_errors_equal_integrals(distribution: Distribution, distance: float) -> None:
    expected = tail_by_integration(distribution.value, distance, 0.8)
    assert shapes(distribution, [0.8]).tail_error(np.array([distance]))[0] == pytest.approx(expected, rel=1e-4)


def test_channels_of_unequal_width_share_a_better_clip_than_one_shape_for_all() -> None:
    rng = np.random.default_rng(5)
    sigmas = np.geomspace(0.05, 2.0, 24)
    samples = rng.normal(size=(24, 4000)) * sigmas[:, None]
    _, high = optimal_range(shapes(Distribution.GAUSSIAN, list(sigmas)), -99, 99, 4, centre=0.0, one_sided=False)
    pooled = clip_value(float(np.abs(samples).mean()), float(samples.std()), 4)
    flat = samples.reshape(-1)
    errors = [best_alpha_on_samples(flat, 4, alphas=[alpha])[1] for alpha in (high, pooled)]
    assert errors[0] < errors[1]
    assert errors[0] <= 1.03 * best_alpha_on_samples(flat, 4)[1]


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

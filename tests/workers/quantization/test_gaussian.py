"""Closed moments of clamped Gaussians against a grid."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.references.gaussian import clamped_moments
from workers.quantization.gaussian import ClampedGaussian

BOUNDS = [(-math.inf, math.inf), (0.0, math.inf), (0.0, 6.0), (-1.0, 0.5), (-math.inf, 0.0)]


@pytest.mark.parametrize("bounds", BOUNDS)
@settings(max_examples=30, deadline=None)
@given(mean=st.floats(-8, 8), deviation=st.floats(0.01, 5))
def test_moments_equal_the_grids(bounds: tuple[float, float], mean: float, deviation: float) -> None:
    x = ClampedGaussian.normal(np.array([mean]), np.array([deviation])).clamp(*bounds)
    first, variance, positive = clamped_moments(mean, deviation, *bounds)
    scale = abs(mean) + deviation
    assert x.expectation()[0] == pytest.approx(first, abs=1e-6 * scale)
    assert x.variance()[0] == pytest.approx(variance, abs=1e-5 * scale**2)
    assert x.positive_mass()[0] == pytest.approx(positive, abs=1e-4)


def test_relu_mean_is_the_papers_formula() -> None:
    beta, gamma = np.array([-1.0, 0.0, 2.0]), np.array([0.5, 1.0, 3.0])
    t = -beta / gamma
    phi = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    cumulative = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in t])
    expected = gamma * phi + beta * (1 - cumulative)
    relu = ClampedGaussian.normal(beta, gamma).clamp(0, math.inf)
    np.testing.assert_allclose(relu.expectation(), expected, rtol=1e-12)


def test_a_constant_channel_has_no_variance() -> None:
    x = ClampedGaussian.normal(np.array([-1.0, 2.0]), np.zeros(2)).clamp(0, math.inf)
    np.testing.assert_array_equal(x.expectation(), [0.0, 2.0])
    np.testing.assert_array_equal(x.variance(), [0.0, 0.0])
    np.testing.assert_array_equal(x.positive_mass(), [0.0, 1.0])


def test_bounds_are_n_deviations_from_the_mean_within_the_clamp() -> None:
    x = ClampedGaussian.normal(np.array([1.0]), np.array([0.5])).clamp(0, math.inf)
    low, high = x.bounds(6)
    assert (low[0], high[0]) == (0.0, 4.0)


def test_shift_moves_the_mean_alone() -> None:
    x = ClampedGaussian.normal(np.array([0.3, -1.0]), np.array([1.0, 2.0])).clamp(0, math.inf)
    offset = np.array([1.0, -1.0])
    moved = x.shift(offset)
    np.testing.assert_allclose(moved.expectation(), x.expectation() + offset)
    np.testing.assert_allclose(moved.variance(), x.variance(), rtol=1e-9)

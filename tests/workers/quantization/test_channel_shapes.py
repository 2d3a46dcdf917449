"""Clips that channels share, against slow integrals and samples."""

import numpy as np
import pytest

from tests.references.clipping import best_alpha_on_samples, tail_by_integration
from workers.quantization.channel_shapes import ChannelShapes, optimal_range
from workers.quantization.clipping import Distribution, clip_value, optimal_clip


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


def test_a_range_is_within_the_values() -> None:
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

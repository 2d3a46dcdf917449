"""ACIQ's closed forms against slow integrals, and its table of α*."""

import numpy as np
import pytest

from tests.references.clipping import best_alpha_on_samples, gaussian_mse, laplace_mse, mse_by_integration
from workers.quantization.clipping import Distribution, better_fit, optimal_clip

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

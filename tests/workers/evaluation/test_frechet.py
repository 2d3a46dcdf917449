"""FID against the matrix square root, for many and for few samples."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from tests.workers.evaluation.samples import Floats, gaussian
from workers.evaluation import frechet
from workers.evaluation.frechet import frechet_distance, moments
from workers.evaluation.points import Rows


def by_square_root(x: Floats, y: Floats) -> float:
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = sqrtm(np.atleast_2d(first) @ np.atleast_2d(second))  # type: ignore[no-untyped-call]
    shift = np.square(x.mean(0) - y.mean(0)).sum()
    return float(shift + np.trace(np.atleast_2d(first + second)) - 2 * np.trace(root).real)


@pytest.mark.parametrize(("count", "width"), [(400, 5), (300, 64), (40, 64), (12, 200), (50, 1)])
def test_it_equals_the_matrix_square_root(count: int, width: int) -> None:
    x, y = gaussian(count, width), 1.3 * gaussian(count + 7, width, seed=1) + 0.2
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(by_square_root(x, y), rel=1e-4)


def test_a_set_is_no_distance_from_itself() -> None:
    found = moments(gaussian(50, 80))
    assert 0 <= frechet_distance(found, found) < 1e-5


def test_of_normal_distributions_by_hand() -> None:
    """In one dimension (μ − ν)² + (σ − τ)²."""
    x, y = np.array([[0.0], [2.0]]), np.array([[10.0], [16.0]])
    assert frechet_distance(moments(x), moments(y)) == pytest.approx(12**2 + (np.sqrt(2) - np.sqrt(18)) ** 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_do_not_depend_on_blocks(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    x: Rows = (gaussian(100, 7) + 1e3).astype(dtype)
    whole = moments(x)
    monkeypatch.setattr(frechet, "_BLOCK_BYTES", 8 * 7 * 9)
    parts = moments(x)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-9)
    np.testing.assert_allclose(whole.covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-9)

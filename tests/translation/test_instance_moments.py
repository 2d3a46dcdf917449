import numpy as np
import pytest

from faceter.translation.instance_moments import InstanceMoments


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (1000, 0.5), (-3, 1e-3)])
def test_tiles_of_any_size_give_the_moments_of_the_whole(mean: float, deviation: float) -> None:
    values = np.random.default_rng(0).normal(mean, deviation, (4, 90, 70)).astype(np.float32)
    moments = InstanceMoments(4)
    for first, end in ((0, 1), (1, 40), (40, 90)):
        moments.add(values[:, first:end, :20])
        moments.add(values[:, first:end, 20:])
    exact = values.astype(np.float64)
    np.testing.assert_allclose(moments.mean(), exact.mean((1, 2)), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(moments.variance(), exact.var((1, 2)), rtol=1e-4)


def test_a_constant_has_no_variance() -> None:
    moments = InstanceMoments(1)
    for _ in range(3):
        moments.add(np.full((1, 5, 5), 0.1, np.float32))
    assert moments.mean().tolist() == [np.float32(0.1)]
    assert moments.variance().tolist() == [0]

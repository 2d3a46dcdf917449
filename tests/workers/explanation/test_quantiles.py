"""Quantiles are exact, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from workers.explanation.quantiles import upper_quantiles

floats = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40])


def quantiles(values: NDArray[np.float32], fraction: float, block: int) -> NDArray[np.float32]:
    starts = range(0, values.shape[1], block)
    return upper_quantiles(lambda: (values[:, start : start + block] for start in starts), len(values), fraction)


@settings(max_examples=100, deadline=None)
@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 60)), elements=floats),
    fraction=st.sampled_from([0.005, 0.1, 0.25, 0.5, 0.75, 0.99]),
    block=st.integers(1, 60),
)
def test_it_is_the_smallest_value_that_at_most_the_fraction_exceeds(
    values: NDArray[np.float32], fraction: float, block: int
) -> None:
    for row, threshold in zip(values, quantiles(values, fraction, block), strict=True):
        allowed = np.floor(fraction * len(row))
        assert (row > threshold).sum() <= allowed
        smaller = row[row < threshold]
        if len(smaller):
            assert (row > smaller.max()).sum() > allowed


@pytest.mark.parametrize("fraction", [0.005, 0.05, 0.3])
def test_it_is_the_quantile_of_numpy(fraction: float) -> None:
    values = np.random.default_rng(0).normal(size=(4, 10_000)).astype(np.float32)
    expected = np.quantile(values, 1 - fraction, axis=1, method="inverted_cdf")
    assert quantiles(values, fraction, 999).tolist() == expected.tolist()


def test_a_unit_that_is_mostly_zero_has_the_quantile_zero() -> None:
    values = np.zeros((1, 1000), np.float32)
    values[0, :3] = [5, 6, 7]
    assert quantiles(values, 0.005, 100).tolist() == [0.0]

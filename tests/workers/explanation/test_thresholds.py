"""Thresholds are exact quantiles, whatever the blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from workers.explanation.thresholds import thresholds

floats = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-40])


def found(values: NDArray[np.float32], share: float, block: int) -> NDArray[np.float32]:
    starts = range(0, values.shape[1], block)
    return thresholds(lambda: (values[:, start : start + block] for start in starts), len(values), share)


@settings(max_examples=100, deadline=None)
@given(
    values=arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 60)), elements=floats),
    share=st.sampled_from([0.005, 0.1, 0.25, 0.5, 0.75, 0.99]),
    block=st.integers(1, 60),
)
def test_at_most_the_share_is_over_and_no_smaller_value_would_do(
    values: NDArray[np.float32], share: float, block: int
) -> None:
    for row, threshold in zip(values, found(values, share, block), strict=True):
        allowed = np.floor(share * len(row))
        assert (row > threshold).sum() <= allowed
        smaller = row[row < threshold]
        if len(smaller):
            assert (row > smaller.max()).sum() > allowed


@pytest.mark.parametrize("share", [0.005, 0.05, 0.3])
def test_it_is_the_quantile_of_numpy(share: float) -> None:
    values = np.random.default_rng(0).normal(size=(4, 10_000)).astype(np.float32)
    expected = np.quantile(values, 1 - share, axis=1, method="inverted_cdf")
    assert found(values, share, 999).tolist() == expected.tolist()


def test_a_unit_that_is_mostly_nought_gets_nought() -> None:
    values = np.zeros((1, 1000), np.float32)
    values[0, :3] = [5, 6, 7]
    assert found(values, 0.005, 100).tolist() == [0.0]

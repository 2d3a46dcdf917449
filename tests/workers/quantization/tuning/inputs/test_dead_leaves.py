"""Procedural images: in range, of any size, equal for equal seeds, and with the statistics of photographs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.quantization.tuning.inputs.dead_leaves import dead_leaves


@settings(max_examples=25, derandomize=True)
@given(
    count=st.integers(0, 4),
    channels=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_is_in_range_and_equal_seeds_give_equal_images(
    count: int, channels: int, height: int, width: int, seed: int
) -> None:
    made = dead_leaves(count, channels, height, width, np.random.default_rng(seed))
    assert made.shape == (count, channels, height, width)
    assert made.dtype == np.float32
    assert np.all((made >= 0) & (made <= 1))
    np.testing.assert_array_equal(made, dead_leaves(count, channels, height, width, np.random.default_rng(seed)))


def test_other_seeds_give_other_images() -> None:
    one, other = (dead_leaves(4, 3, 16, 16, np.random.default_rng(seed)) for seed in (0, 1))
    assert np.abs(one - other).mean() > 0.05
    assert np.abs(one[0] - one[1]).mean() > 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_power_falls_with_frequency_as_in_photographs(channels: int) -> None:
    """About as 1/f² (a spectrum of amplitudes of 1/f); that of white noise does not fall at all."""
    made = dead_leaves(64, channels, 32, 32, np.random.default_rng(0))
    centred = made - made.mean(axis=(2, 3), keepdims=True)
    power = (np.abs(np.fft.fft2(centred)) ** 2).mean(axis=(0, 1))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    inside = (frequency > 1.5 / 32) & (frequency < 0.35)
    slope = np.polyfit(np.log(frequency[inside]), np.log(power[inside]), 1)[0]
    assert -2.6 < slope < -1.4

"""The learning rate over a training."""

import pytest

from workers.translation.schedule import rate_factor


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1.0), (0.3, 1.0), (0.5, 1.0), (0.625, 0.75), (0.75, 0.5), (0.99, 0.02), (1.0, 0.0)]
)
def test_the_rate_is_constant_for_half_of_training_and_then_falls_in_a_line(fraction: float, expected: float) -> None:
    assert rate_factor(fraction) == pytest.approx(expected)

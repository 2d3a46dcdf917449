"""The estimated duration of a training, against operations counted by hand."""

import pytest

from workers.translation.acceleration import MIN_SECONDS_TO_COMPILE
from workers.translation.cyclegan import CycleGanSettings
from workers.translation.workload import OPERATIONS_PER_SECOND, expected_seconds


def operations(channels: int, blocks: int, size: int) -> int:
    """Return multiplications and additions of a ResNet generator's convolutions for one image."""
    whole, half, quarter = size**2, (size // 2) ** 2, (size // 4) ** 2
    c = channels
    products = whole * 49 * 3 * c + half * 9 * c * 2 * c + quarter * 9 * 2 * c * 4 * c
    products += blocks * 2 * quarter * 9 * (4 * c) ** 2
    products += quarter * 9 * 4 * c * 2 * c + half * 9 * 2 * c * c + whole * 49 * c * 3
    return 2 * products


@pytest.mark.parametrize(("channels", "blocks", "size"), [(4, 1, 16), (8, 3, 32), (64, 9, 256)])
def test_operations_are_those_of_the_network(channels: int, blocks: int, size: int) -> None:
    settings = CycleGanSettings(image_size=size, channels=channels, blocks=blocks)
    expected = 10 * 2 * 6 * 3 * operations(channels, blocks, size) / OPERATIONS_PER_SECOND
    assert expected_seconds(settings, 10, 2) == pytest.approx(expected, rel=0.01)


def test_it_is_deterministic_and_proportional_to_the_work() -> None:
    settings = CycleGanSettings(image_size=32, channels=4, blocks=1)
    assert expected_seconds(settings, 10, 1) == expected_seconds(settings, 10, 1)
    assert expected_seconds(settings, 20, 1) == pytest.approx(2 * expected_seconds(settings, 10, 1))
    assert expected_seconds(settings, 10, 3) == pytest.approx(3 * expected_seconds(settings, 10, 1))


def test_the_papers_training_is_worth_compiling_for_and_a_trial_is_not() -> None:
    assert expected_seconds(CycleGanSettings(blocks=9), 200 * 1000, 1) > MIN_SECONDS_TO_COMPILE
    assert expected_seconds(CycleGanSettings(image_size=32, channels=4, blocks=1), 1000, 1) < MIN_SECONDS_TO_COMPILE

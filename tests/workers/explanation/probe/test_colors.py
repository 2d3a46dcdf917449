"""Basic colours of pixels."""

import numpy as np
import pytest

from faceter.contracts.explanations import DerivedConcept
from faceter.explanations.derived import DERIVED_CONCEPTS
from workers.explanation.probe.colors import color_numbers

NAMES = DERIVED_CONCEPTS[DerivedConcept.COLOR]["images"]["color"]


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("black", (5, 5, 5)),
        ("white", (250, 250, 250)),
        ("gray", (125, 125, 125)),
        ("red", (230, 10, 20)),
        ("green", (20, 150, 30)),
        ("blue", (20, 40, 220)),
        ("yellow", (250, 240, 20)),
        ("orange", (250, 140, 10)),
        ("brown", (110, 65, 25)),
        ("pink", (250, 160, 195)),
        ("purple", (130, 20, 150)),
    ],
)
def test_colours_of_typical_pixels(name: str, pixel: tuple[int, int, int]) -> None:
    number = int(color_numbers(np.array(pixel, np.uint8)))
    assert NAMES[number - 1] == name


def test_every_pixel_has_a_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    numbers = color_numbers(pixels)
    assert numbers.shape == (40, 50)
    assert numbers.min() >= 1
    assert numbers.max() <= len(NAMES)

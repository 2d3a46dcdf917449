"""Sizes and positions, rounded as the libraries round them."""

from typing import Any

import pytest

from faceter.contracts.preprocessing import Preprocessing
from faceter.vision.resampling.plan import Region, resize_plan


def plan(image: tuple[int, int], **fields: Any) -> tuple[Region, tuple[int, int], Region, tuple[int, int]]:
    made = resize_plan(image, Preprocessing.model_validate({"size": [224, 224], **fields}))
    return made.source, made.resized, made.kept, made.position


@pytest.mark.parametrize(
    ("fields", "resized", "corner"),
    [
        ({"resampler": "pillow", "crop_fraction": 0.875}, (256, 341), (16, 58)),  # 341.33, 58.5 rounded to even
        ({"resampler": "torch", "crop_fraction": 0.875}, (256, 341), (16, 58)),
        ({"resampler": "opencv", "crop_fraction": 0.875}, (256, 341), (16, 58)),
        ({"resampler": "pillow", "crop_fraction": 0.95}, (235, 313), (6, 44)),  # 5.5 and 44.5 rounded to even
        ({"resampler": "opencv", "crop_fraction": 0.95}, (235, 313), (5, 44)),
        ({"resampler": "pillow", "crop_fraction": 0.96552}, (232, 309), (4, 42)),  # 224 / 232 by five digits
        ({"resampler": "pillow", "crop_fraction": 1}, (224, 298), (0, 37)),
        ({"resampler": "opencv", "crop_fraction": 1}, (224, 299), (0, 37)),  # 298.67 rounded
        ({"resampler": "torch"}, (224, 298), (0, 37)),
    ],
)
def test_a_crop_at_whole_pixels(fields: dict[str, Any], resized: tuple[int, int], corner: tuple[int, int]) -> None:
    whole, size, kept, position = plan((300, 400), resize="crop", **fields)
    assert whole == Region(0, 0, 300, 400)
    assert size == resized
    assert (kept, position) == (Region(*corner, 224, 224), (0, 0))


def test_a_crop_of_tensorflow_comes_first() -> None:
    fields = {"resize": "crop", "resampler": "tensorflow"}
    source, resized, kept, _ = plan((301, 401), crop_fraction=0.875, **fields)
    assert source == Region(19, 69, 263, 263)  # ⌊0.875 · 301⌋; (38 + 1) // 2, (138 + 1) // 2
    assert (resized, kept) == ((224, 224), Region(0, 0, 224, 224))
    assert plan((301, 401), resampler="tensorflow", crop_fraction=0.875)[0] == Region(18, 25, 265, 351)
    assert plan((300, 400), size=[100, 200], **fields)[0] == Region(0, 125, 300, 150)


def test_a_crop_without_fraction_is_exact() -> None:
    assert plan((300, 401), resize="crop")[0] == Region(0, 50.5, 300, 300)


def test_a_stretch_with_fraction_is_cut_after() -> None:
    _, resized, kept, _ = plan((300, 400), size=[112, 224], crop_fraction=0.875)
    assert (resized, kept) == ((256, 128), Region(16, 8, 224, 112))


def test_other_sizes_than_squares_are_covered() -> None:
    """Like `ResizeKeepRatio` of timm: the smaller ratio of the sides decides."""
    _, resized, kept, _ = plan((300, 400), size=[100, 200], resize="crop", crop_fraction=0.5)
    assert resized == (400, 533)
    assert kept == Region(100, 216, 200, 100)


@pytest.mark.parametrize(("resampler", "height"), [("pillow", 95), ("opencv", 95), ("torch", 95), ("tensorflow", 94)])
def test_padding(resampler: str, height: int) -> None:
    _, resized, _, position = plan((640, 271), resize="pad", resampler=resampler)
    assert resized == (224, height)  # 94.85
    assert position == (0, 64)

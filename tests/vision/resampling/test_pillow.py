"""The part of a resized image is that of the whole, also where the whole would be too large."""

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.preprocessing import Interpolation, Preprocessing
from faceter.vision.resampling.pillow import pillow_resize
from faceter.vision.resampling.plan import resize_plan
from tests.vision.resampling.sample_images import differences, noise

FILTERS = {Interpolation.BILINEAR: Image.Resampling.BILINEAR, Interpolation.BICUBIC: Image.Resampling.BICUBIC}


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize(("size", "most"), [((3, 300), 0), ((300, 3), 0), ((3, 3200), 1)])
def test_the_kept_part(interpolation: Interpolation, size: tuple[int, int], most: int) -> None:
    image = Image.fromarray(noise(size)).convert("L")
    preprocessing = Preprocessing.model_validate({"preset": "imagenet-timm", "interpolation": interpolation})
    plan = resize_plan(image.size, preprocessing)
    left, top = int(plan.kept.left), int(plan.kept.top)
    whole = image.resize(plan.resized, FILTERS[interpolation])
    expected = np.asarray(whole.crop((left, top, left + 224, top + 224)))
    found = np.asarray(pillow_resize(image, plan, interpolation))
    apart = differences(found, expected)
    assert apart.max() <= most
    assert (apart > 0).mean() < 0.1

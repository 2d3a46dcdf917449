"""Presets equal the published pipelines, pixel by pixel."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from faceter.contracts.preprocessing import PRESETS, Preprocessing, PreprocessingPreset
from faceter.vision.preprocess import preprocess
from tests.vision import reference_pipelines as reference
from tests.vision.resampling.sample_images import drawn, noise

sides = st.integers(20, 130)
images = st.builds(lambda size, seed: Image.fromarray(noise(size, seed)), st.tuples(sides, sides), st.integers(0, 5))


def made(image: Image.Image, **fields: Any) -> Any:
    """Return the input [H, W, C] that a preset makes."""
    values, _ = preprocess(image, Preprocessing.model_validate(fields))
    return values.transpose(1, 2, 0)


def equal(found: Any, expected: Any, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


@settings(deadline=None)
@given(images, st.sampled_from([(32, 28), (37, 33), (40, 40), (64, 56)]))
def test_torchvision(image: Image.Image, sides: tuple[int, int]) -> None:
    resize, crop = sides
    fraction = round(crop / resize, 5)
    found = made(image, preset="imagenet-torchvision", size=[crop, crop], crop_fraction=fraction)
    equal(found, reference.torchvision(image, resize, crop))


@settings(deadline=None)
@given(images, st.sampled_from([(32, 28), (37, 33), (64, 56)]))
def test_torchvision_on_tensors(image: Image.Image, sides: tuple[int, int]) -> None:
    resize, crop = sides
    found = made(
        image, preset="imagenet-torchvision", size=[crop, crop], crop_fraction=crop / resize, resampler="torch"
    )
    expected = reference.torchvision_on_tensors(image, resize, crop)
    level = 1 / 255 / 0.224
    assert np.abs(found - expected).max() <= level * 1.03  # a tie may round to the other value
    assert (np.abs(found - expected) > level / 2).mean() < 0.01


@settings(deadline=None)
@given(images, st.sampled_from([(28, 28), (24, 24), (32, 20), (17, 48)]), st.sampled_from([0.875, 0.9, 0.95, 1.0]))
def test_timm(image: Image.Image, size: tuple[int, int], crop_pct: float) -> None:
    found = made(image, preset="imagenet-timm", size=list(size), crop_fraction=crop_pct)
    equal(found, reference.timm(image, size, crop_pct))


@settings(deadline=None)
@given(images, st.sampled_from([(29, 29), (24, 40), (75, 75)]))
def test_tensorflow(image: Image.Image, size: tuple[int, int]) -> None:
    equal(made(image, preset="imagenet-tf", size=list(size)), reference.slim_inception(image, size), 1e-4)


@settings(deadline=None)
@given(images, st.sampled_from([24, 31, 224]))
def test_the_crop_of_efficientnet(image: Image.Image, size: int) -> None:
    cut = reference.efficientnet_crop(image, size)
    found = made(
        image,
        size=[size, size],
        resize="crop",
        crop_fraction=size / (size + 32),
        resampler="tensorflow",
        interpolation="bilinear",
        scale=1,
    )
    equal(found, reference.half_pixel(cut, (size, size)), 0.02)


@settings(deadline=None)
@given(images, st.sampled_from([(64, 56), (32, 28)]))
def test_paddle(image: Image.Image, sides: tuple[int, int]) -> None:
    equal(made(image, preset="paddle", size=[sides[1]] * 2), reference.paddle(image, *sides))


@settings(deadline=None)
@given(images, st.sampled_from([(64, 64), (96, 64), (33, 47)]))
def test_letterbox(image: Image.Image, size: tuple[int, int]) -> None:
    equal(made(image, preset="yolo-letterbox", size=list(size)), reference.letterbox(image, size))


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (1201, 900)])
def test_presets_at_their_own_sizes(size: tuple[int, int]) -> None:
    image = drawn(size)
    equal(made(image, preset="imagenet-torchvision"), reference.torchvision(image, 256, 224))
    equal(made(image, preset="imagenet-timm"), reference.timm(image, (224, 224), 0.875))
    equal(made(image, preset="imagenet-tf"), reference.slim_inception(image, (299, 299)), 1e-4)
    equal(made(image, preset="paddle"), reference.paddle(image, 256, 224))
    equal(made(image, preset="yolo-letterbox"), reference.letterbox(image, (640, 640)))


@pytest.mark.parametrize("preset", PreprocessingPreset)
def test_a_preset_is_stored_with_all_its_values(preset: PreprocessingPreset) -> None:
    given = Preprocessing.model_validate({"preset": preset.value})
    stored = given.model_dump(mode="json")
    assert stored["preset"] == preset
    assert {name: stored[name] for name in PRESETS[preset]} == PRESETS[preset]
    assert Preprocessing.model_validate(stored) == given
    assert Preprocessing.model_validate_json(given.model_dump_json()) == given
    assert given.model_fields_set == {"preset"}


def test_fields_given_take_precedence() -> None:
    given = Preprocessing.model_validate({"preset": "imagenet-timm", "size": [240, 240], "interpolation": "bilinear"})
    assert (given.size, given.interpolation, given.crop_fraction) == ([240, 240], "bilinear", 0.875)
    whole = Preprocessing.model_validate({"preset": "imagenet-timm", "crop_fraction": None, "resize": "stretch"})
    assert whole.crop_fraction is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ("pillow", True)),
        ({"antialias": False}, ("opencv", False)),
        ({"antialias": False, "interpolation": "nearest"}, ("pillow", False)),
        ({"resampler": "opencv"}, ("opencv", False)),
        ({"resampler": "tensorflow"}, ("tensorflow", False)),
        ({"resampler": "tensorflow", "antialias": True}, ("tensorflow", True)),
        ({"resampler": "torch"}, ("torch", True)),
        ({"preset": "paddle", "antialias": True}, ("pillow", True)),
        ({"preset": "imagenet-timm", "resampler": "torch"}, ("torch", True)),
    ],
)
def test_antialias_and_resampler_follow_from_each_other(fields: dict[str, Any], expected: tuple[str, bool]) -> None:
    given = Preprocessing.model_validate({"size": [8, 8], **fields})
    assert (given.resampler, given.antialias) == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"preset": "imagenet"},
            "'imagenet-torchvision', 'imagenet-timm', 'imagenet-tf', 'yolo-letterbox' or 'paddle'",
        ),
        ({"resampler": "pillow", "antialias": False}, "Pillow always antialiases"),
        ({"resampler": "opencv", "antialias": True}, "OpenCV does not antialias"),
        ({"resampler": "torch", "interpolation": "lanczos"}, "no interpolation lanczos"),
        ({"resize": "pad", "crop_fraction": 0.875}, "keeps the whole image"),
        ({"crop_fraction": 0}, "greater than or equal to 0.01"),
        ({"crop_fraction": 1.5}, "less than or equal to 1"),
        ({"interpolation": "cubic"}, "'bicubic'"),
        ({"layout": "nhwc"}, "'channels_last'"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Preprocessing.model_validate({"size": [8, 8], **fields})
    assert words in str(caught.value)

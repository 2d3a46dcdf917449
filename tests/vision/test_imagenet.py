"""A real network on real images, with the preprocessing it was trained for."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.preprocessing import Preprocessing
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.vision.images import open_rgb_image
from faceter.vision.preprocess import preprocess
from tests.vision.reference_pipelines import centre_crop, efficientnet_crop, shorter_side

TRAINED: dict[str, Any] = {
    "size": [224, 224],
    "resize": "crop",
    "crop_fraction": 224 / 256,
    "interpolation": "bicubic",
    "scale": 1,
    "mean": [127],
    "std": [128],
}
IMAGES = 40


@pytest.fixture(scope="module")
def images(shared_data: Path) -> list[tuple[str, Image.Image]]:
    """Images spread over the set, with their class."""
    with zipfile.ZipFile(shared_data / "imagenet" / "sample.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        chosen = names[:: max(1, len(names) // IMAGES)][:IMAGES]
        return [
            (name.split("/")[-2], open_rgb_image(archive.read(name), max_pixels=10**8, name=name)) for name in chosen
        ]


def values(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return ((pixels.astype(np.float64) - 127) / 128).transpose(2, 0, 1)


def test_values_equal_the_pipeline_of_pillow(images: list[tuple[str, Image.Image]]) -> None:
    for _, image in images:
        resized = image.resize(shorter_side(image.size, 256), Image.Resampling.BICUBIC)
        expected = values(np.asarray(centre_crop(resized, (224, 224))))
        found, _ = preprocess(image, Preprocessing.model_validate(TRAINED))
        np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_the_crop_of_tensorflow_is_that_of_its_authors(images: list[tuple[str, Image.Image]]) -> None:
    made = Preprocessing.model_validate({**TRAINED, "resampler": "tensorflow", "antialias": True})
    for _, image in images[:8]:
        cut = Image.fromarray(efficientnet_crop(image, 224))
        expected = values(np.asarray(cut.resize((224, 224), Image.Resampling.BICUBIC)))
        found, _ = preprocess(image, made)
        # the same kernel, but Pillow rounds and clips values between its two passes and after them
        assert np.quantile(np.abs(found - expected), 0.99) < 1 / 128


def test_the_right_preprocessing_recognizes_more(shared_data: Path, images: list[tuple[str, Image.Image]]) -> None:
    folder = shared_data / "imagenet"
    labels = (folder / "labels.txt").read_text().splitlines()
    network = OnnxRuntimeEngine().load((folder / "efficientnet_lite0.onnx").read_bytes(), threads=1)
    ways = {
        "trained": Preprocessing.model_validate(TRAINED),
        "stretched": Preprocessing(size=[224, 224], scale=1, mean=[127], std=[128]),
        "other scale": Preprocessing(size=[224, 224]),
    }
    correct = dict.fromkeys(ways, 0)
    for label, image in images:
        for name, way in ways.items():
            inputs, _ = preprocess(image, way)
            (scores,) = network.run({"image": inputs[None]}).values()
            correct[name] += labels[int(scores.argmax())] == label
    network.close()
    assert correct["trained"] >= 0.8 * len(images)
    assert correct["trained"] >= correct["stretched"] > correct["other scale"]

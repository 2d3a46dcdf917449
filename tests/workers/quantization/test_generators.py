"""A quantized generator's images against the original's."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import QuantizationReport, QuantizationRequest
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import open_inputs
from workers.quantization.datasets import JobDatasets
from workers.quantization.generated_images import grid_means
from workers.quantization.pipeline import quantize
from workers.translation.networks import ResnetGenerator, initialize
from workers.translation.onnx_writer import write_generator

SETTINGS = Settings(_env_file=None)
SIDE = 24


@pytest.fixture(scope="module")
def generator() -> bytes:
    """A generator that was not trained, its weights large enough to make images that differ."""
    network = ResnetGenerator(channels=4, blocks=1)
    initialize(network, torch.Generator().manual_seed(3))
    with torch.no_grad():
        for values in network.parameters():
            values.mul_(8)
    content: bytes = write_generator(network).SerializeToString()
    return content


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images of coloured squares."""
    path = tmp_path_factory.mktemp("images") / "images.zip"
    random = np.random.default_rng(1)
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(40):
            small = random.integers(0, 256, (4, 4, 3), np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(small).resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(buffer, "PNG")
            archive.writestr(f"{index:02}.png", buffer.getvalue())
    return path


def report(generator: bytes, images: Path | None, bits: int) -> QuantizationReport:
    preprocessing = Preprocessing(size=[SIDE, SIDE], mean=[0.5], std=[0.5])
    metadata = ModelMetadata(task=Task.IMAGE_TRANSLATION, preprocessing=preprocessing)
    request = QuantizationRequest(
        method="dfq",
        weight_bits=bits,
        activation_bits=bits,
        evaluation_dataset_id=None if images is None else "dts_test",
    )
    if images is None:
        return quantize(generator, metadata, request, JobDatasets(None, None, {}), SETTINGS).report
    record = Dataset(
        id="dts_test",
        name="images",
        kind=DatasetKind.IMAGES,
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=1,
        samples=40,
    )
    with open_inputs(images, DatasetKind.IMAGES, SETTINGS) as opened:
        data = JobDatasets(None, opened, {"evaluation_dataset": record})
        return quantize(generator, metadata, request, data, SETTINGS).report


def test_cells_are_means_and_cover_every_pixel() -> None:
    images = np.arange(2 * 1 * 20 * 32, dtype=np.float32).reshape(2, 1, 20, 32)
    found = grid_means(images).reshape(2, 16, 16)
    assert found[0, 0, 0] == images[0, 0, :1, :2].mean()
    assert found[1, 15, 15] == images[1, 0, 18:, 30:].mean()
    whole = grid_means(np.full((1, 3, 5, 7), 2.5, np.float32))
    assert whole.shape == (1, 3 * 5 * 7)
    assert (whole == 2.5).all()


def test_its_images_are_graded_against_the_originals(generator: bytes, images: Path) -> None:
    at_8, at_2 = ({item.metric: item for item in report(generator, images, bits).quality} for bits in (8, 2))
    assert list(at_8) == ["density", "coverage"]
    assert at_8["coverage"].before == at_8["coverage"].after == 1.0
    assert at_8["coverage"].samples == 40
    assert at_2["coverage"].after < at_8["coverage"].after
    assert at_2["density"].after < at_8["density"].after


def test_without_images_nothing_is_graded(generator: bytes) -> None:
    assert report(generator, None, 8).quality == []

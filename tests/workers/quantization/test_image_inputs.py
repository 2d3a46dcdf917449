"""A network quantizes alike whatever the layout and the type of its image input."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.datasets.images import ImagesDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.vision.preprocess import as_dtype, preprocess
from tests.engines.image_networks import CLASSES, SIDE, image_network
from tests.workers.quantization.evaluation_data import SETTINGS, evaluating
from tests.workers.quantization.networks import request_for
from workers.figures.pixels import to_pixels
from workers.quantization.datasets import JobDatasets
from workers.quantization.pipeline import QuantizedModel, quantize
from workers.quantization.synthetic_dataset import image_archive

LABELS = [f"class {number}" for number in range(CLASSES)]
KINDS = [(False, False), (True, False), (False, True), (True, True)]
every_kind = pytest.mark.parametrize(
    ("channels_last", "whole_numbers"), KINDS, ids=["NCHW", "NHWC", "NCHW uint8", "NHWC uint8"]
)


def metadata(*, channels_last: bool, whole_numbers: bool) -> ModelMetadata:
    preprocessing = Preprocessing(
        size=[SIDE, SIDE],
        layout="channels_last" if channels_last else "channels_first",
        scale=1 if whole_numbers else 1 / 255,
    )
    return ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=preprocessing, labels=LABELS)


def images() -> list[Image.Image]:
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (24, 4, 4, 3), np.uint8)
    return [Image.fromarray(colour).resize((40, 30), Image.Resampling.BICUBIC) for colour in colours]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "images.zip"
    with zipfile.ZipFile(path, "w") as folders:
        for number, image in enumerate(images()):
            file = io.BytesIO()
            image.save(file, "PNG")
            folders.writestr(f"{LABELS[number % CLASSES]}/{number:02}.png", file.getvalue())
    return path


def quantized(kind: tuple[bool, bool], data: JobDatasets, **fields: Any) -> QuantizedModel:
    content = image_network(channels_last=kind[0], whole_numbers=kind[1])
    about = metadata(channels_last=kind[0], whole_numbers=kind[1])
    return quantize(content, about, request_for(**fields), data, SETTINGS)


def logits(content: bytes, kind: tuple[bool, bool]) -> np.ndarray[Any, Any]:
    made = metadata(channels_last=kind[0], whole_numbers=kind[1]).preprocessing
    assert made is not None
    inputs = np.stack([preprocess(image, made)[0] for image in images()])
    loaded = OnnxRuntimeEngine().load(content, threads=1)
    try:
        return loaded.run({"image": as_dtype(inputs, loaded.inputs[0].dtype)})["logits"]
    finally:
        loaded.close()


@every_kind
@pytest.mark.parametrize("role", ["calibration", "evaluation", "noise"])
def test_it_quantizes(channels_last: bool, whole_numbers: bool, role: str, archive: Path) -> None:
    kind = (channels_last, whole_numbers)
    with ImagesDataset.open(archive, SETTINGS) as data:
        given = {
            "calibration": JobDatasets(calibration=data),
            "evaluation": evaluating(data, DatasetKind.IMAGES),
            "noise": JobDatasets(),
        }[role]
        fields = {"calibration_dataset_id": "dts_test"} if role == "calibration" else {}
        made = quantized(kind, given, method="rq", weight_bits=8, activation_bits=8, **fields)
    agreement = made.report.agreement
    assert agreement.source == role
    assert agreement.relative_error < 0.05
    expected = logits(image_network(channels_last=channels_last, whole_numbers=whole_numbers), kind)
    found = logits(made.exported.content, kind)
    assert np.ptp(expected) > 0.1
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@every_kind
@pytest.mark.parametrize("method", ["auto", "ft"])
def test_it_is_tuned(channels_last: bool, whole_numbers: bool, method: str, archive: Path) -> None:
    kind = (channels_last, whole_numbers)
    fields = {"method": method, "weight_bits": 4, "activation_bits": 8, "max_steps": 20}
    with ImagesDataset.open(archive, SETTINGS) as data:
        if method == "ft":
            fields["calibration_dataset_id"] = "dts_test"
        made = quantized(kind, JobDatasets(calibration=data if method == "ft" else None), **fields)
    expected = logits(image_network(channels_last=channels_last, whole_numbers=whole_numbers), kind)
    found = logits(made.exported.content, kind)
    assert np.linalg.norm(found - expected) < 0.2 * np.linalg.norm(expected)


def test_synthetic_images_are_images_in_any_layout() -> None:
    made = quantized((True, False), JobDatasets(), method="auto", weight_bits=4, activation_bits=8, max_steps=20)
    synthetic = made.optimized.synthetic
    assert synthetic is not None
    about = metadata(channels_last=True, whole_numbers=False).preprocessing
    assert about is not None
    pixels = to_pixels(synthetic, about)
    assert pixels.shape[1:] == (3, SIDE, SIDE)
    assert pixels.std() > 10
    with zipfile.ZipFile(io.BytesIO(image_archive(pixels[:2], None))) as folder:
        opened = Image.open(io.BytesIO(folder.read(folder.namelist()[0])))
        assert opened.size == (SIDE, SIDE)

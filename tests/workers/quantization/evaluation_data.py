"""Held-out digits as evaluation data of quantization."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import InputDataset
from tests.workers.quantization.networks import PREPROCESSING, Digits
from workers.quantization.datasets import JobDatasets

SETTINGS = Settings(_env_file=None)
LABELS = [str(digit) for digit in range(10)]


def digits_zip(folder: Path, digits: Digits, *, labelled: bool = True, count: int = 120) -> Path:
    """Write held-out digits as images in class folders."""
    path = folder / ("digits.zip" if labelled else "plain.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            pixels = np.rint((digits.images[index, 0] * 0.35 + 0.3) * 255).clip(0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            name = f"{digits.classes[index]}/{index:03}.png" if labelled else f"{index:03}.png"
            archive.writestr(name, buffer.getvalue())
    return path


def record(kind: DatasetKind = DatasetKind.IMAGES) -> Dataset:
    return Dataset(id="dts_test", name="digits", kind=kind, created_at=utc_now(), sha256="0" * 64, bytes=1, samples=120)


def evaluating(data: InputDataset, kind: DatasetKind = DatasetKind.IMAGES) -> JobDatasets:
    return JobDatasets(evaluation=data, records={"evaluation_dataset": record(kind)})


def classifier(labels: list[str] | None = None) -> ModelMetadata:
    return ModelMetadata(
        task=Task.IMAGE_CLASSIFICATION,
        preprocessing=PREPROCESSING,
        labels=LABELS if labels is None else labels,
    )

"""The dataset of synthetic inputs: it opens again, with the same values, labels and classes."""

import io
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.base import Provenance, utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.models import Model, ModelMetadata, Task
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.contracts.quantizations import (
    QuantizationReport,
    Tuning,
)
from faceter.contracts.settings import Settings
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_inputs
from faceter.datasets.signals import SignalsDataset
from faceter.store.blobs import StoredBlob
from faceter.store.library import Library
from tests.graphs.builders import residual_net
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import IMAGES, prepared_for
from workers.jobs.context import JobContext
from workers.quantization import synthetic_dataset as module
from workers.quantization.optimized import OptimizedNetwork
from workers.quantization.rq import RawQuantization
from workers.quantization.synthetic_dataset import class_names, image_archive, synthetic_dataset, with_dataset

SETTINGS = Settings(_env_file=None)
PROVENANCE = Provenance(inputs={}, settings={}, seed=0, versions={}, device="cpu", host="a host")
RGB = Preprocessing(size=[6, 5], mean=[0.5, 0.4, 0.3], std=[0.25, 0.2, 0.3])
TUNING = Tuning(path="dreams", steps=3, seconds=1.0, phases=[], ended_by="budget", kept_step=3)
Floats = NDArray[np.float32]


class FileContext(JobContext):
    """A job whose files are in a real blob store; it needs no queue."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.settings = SETTINGS
        self.stored: list[StoredBlob] = []

    def new_id(self, prefix: str) -> str:
        return f"{prefix}_made"

    def store_blob(self, source: BinaryIO | bytes) -> StoredBlob:
        self.stored.append(self.library.store_blob(source))
        return self.stored[-1]


@pytest.fixture
def context(library: Library) -> FileContext:
    return FileContext(library)


def model(**metadata: object) -> Model:
    return Model(
        id="mdl_float",
        name="a model",
        created_at=utc_now(),
        sha256="0" * 64,
        bytes=1,
        metadata=ModelMetadata.model_validate(metadata),
        inputs=[],
        outputs=[],
        opset=18,
        parameters=1,
    )


def made(synthetic: Floats | None, labels: list[int] | None = None) -> OptimizedNetwork:
    start = RawQuantization()(prepared_for(residual_net(), IMAGES), request_for())
    return OptimizedNetwork(
        start.plan,
        tuning=TUNING,
        synthetic=synthetic,
        labels=None if labels is None else np.array(labels, np.int64),
    )


def images(count: int, channels: int = 3) -> tuple[NDArray[np.uint8], Floats]:
    """Return images, and what preprocessing makes of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, channels, 6, 5)).astype(np.uint8)
    mean, std = (np.reshape(np.asarray(value[:channels], np.float32), (1, -1, 1, 1)) for value in (RGB.mean, RGB.std))
    return pixels, ((pixels / np.float32(255) - mean) / std).astype(np.float32)


def opened(context: FileContext, dataset: Dataset) -> ImagesDataset | SignalsDataset:
    found = open_inputs(context.library.blobs.path(dataset.sha256), dataset.kind, SETTINGS)
    assert isinstance(found, ImagesDataset | SignalsDataset)
    return found


def test_images_become_a_dataset_in_class_folders_pixel_for_pixel(context: FileContext) -> None:
    pixels, inputs = images(12)
    labels = [index % 3 for index in range(12)]
    names = ["cat", "dog", "grand piano"]
    made_from = model(task=Task.IMAGE_CLASSIFICATION, preprocessing=RGB, labels=names)
    dataset = synthetic_dataset(context, made_from, made(inputs, labels), PROVENANCE)
    assert dataset is not None
    assert (dataset.kind, dataset.samples, dataset.derived_from_id) == (DatasetKind.IMAGES, 12, "mdl_float")
    assert dataset.class_counts == {"cat": 4, "dog": 4, "grand piano": 4}
    assert dataset.provenance == PROVENANCE
    assert "dreams" in dataset.warnings[0]
    with opened(context, dataset) as data:
        assert isinstance(data, ImagesDataset)
        [batch] = data.batches(RGB, 12)
        order = [index for label in range(3) for index in range(12) if labels[index] == label]
        np.testing.assert_allclose(batch.inputs, inputs[order], atol=1e-5)
        assert data.labels_for(names) == sorted(labels)
        assert np.array_equal(np.asarray(data.image(0)), pixels[order[0]].transpose(1, 2, 0))
    sheet = dataset.files["contact-sheet.png"]
    assert sheet.media_type == "image/png"
    image = Image.open(io.BytesIO(context.library.blobs.read(sheet.sha256)))
    assert image.size[0] > 0
    assert sheet.bytes == len(context.library.blobs.read(sheet.sha256))


def test_bgr_inputs_become_rgb_images(context: FileContext) -> None:
    pixels, inputs = images(4)
    bgr = RGB.model_copy(update={"channel_order": ChannelOrder.BGR})
    dataset = synthetic_dataset(context, model(preprocessing=bgr), made(inputs), PROVENANCE)
    assert dataset is not None
    with opened(context, dataset) as data:
        assert isinstance(data, ImagesDataset)
        np.testing.assert_array_equal(np.asarray(data.image(2)), pixels[2, ::-1].transpose(1, 2, 0))
        [batch] = data.batches(bgr, 4)
        np.testing.assert_allclose(batch.inputs, inputs, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 6, 5), (3, 1, 5), (3, 6, 1), (1, 1, 1), (3, 1, 1)])
def test_images_of_any_size_keep_their_shape(shape: tuple[int, int, int], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    path = tmp_path / "images.zip"
    path.write_bytes(image_archive(pixels, None))
    with ImagesDataset.open(path, SETTINGS) as data:
        assert isinstance(data, ImagesDataset)
        assert data.labels is None
        for index, image in enumerate(pixels):
            found = np.asarray(data.image(index)).transpose(2, 0, 1)
            np.testing.assert_array_equal(found, np.broadcast_to(image, found.shape))


@settings(max_examples=60, derandomize=True)
@given(
    names=st.lists(
        st.text(min_size=0, max_size=12) | st.sampled_from(["..", "a/b", "a\\b", "c:", ".hidden", "", "ü ö", "con"]),
        min_size=1,
        max_size=4,
    )
)
def test_the_archive_opens_with_any_class_names(names: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Classes that can name folders do; where one cannot, none does."""
    pixels = np.zeros((len(names), 1, 2, 2), np.uint8)
    path = tmp_path_factory.mktemp("archive") / "images.zip"
    path.write_bytes(image_archive(pixels, names))
    with ImagesDataset.open(path, SETTINGS) as data:
        assert isinstance(data, ImagesDataset)
        assert len(data) == len(names)
        if data.labels is not None:
            assert Counter(data.classes[label] for label in data.labels) == Counter(names)
        elif len(set(names)) > 1:
            assert any(not name.isprintable() or not name or set(name) & set('/\\:*?"<>|.') for name in names)


def test_equal_inputs_give_equal_bytes(context: FileContext) -> None:
    pixels, inputs = images(5)
    names = ["a", "b", "a", "b", "a"]
    assert image_archive(pixels, names) == image_archive(pixels, names)
    signals = np.random.default_rng(0).normal(size=(6, 2, 30)).astype(np.float32)
    for made_from, synthetic in ((model(preprocessing=RGB), inputs), (model(), signals)):
        first, second = (synthetic_dataset(context, made_from, made(synthetic), PROVENANCE) for _ in range(2))
        assert first is not None
        assert second is not None
        assert first.sha256 == second.sha256
        assert first.files == second.files


def test_signals_become_a_dataset_value_for_value(context: FileContext) -> None:
    signals = np.random.default_rng(0).normal(size=(6, 2, 30)).astype(np.float32)
    labels = [2, 0, 1, 1, 0, 2]
    names = ["slow", "middle", "fast"]
    made_from = model(task=Task.SIGNAL_CLASSIFICATION, labels=names)
    dataset = synthetic_dataset(context, made_from, made(signals, labels), PROVENANCE)
    assert dataset is not None
    assert (dataset.kind, dataset.samples, dataset.classes) == (DatasetKind.SIGNALS, 6, names)
    with opened(context, dataset) as data:
        assert isinstance(data, SignalsDataset)
        assert data.shape == (2, 30)
        [batch] = data.batches(6)
        np.testing.assert_array_equal(batch.inputs, signals)
        found = data.sample_labels(names)
        assert found is not None
        assert found.tolist() == labels


def test_signals_of_a_model_without_labels_have_numbered_classes(context: FileContext) -> None:
    signals = np.zeros((4, 1, 8), np.float32)
    dataset = synthetic_dataset(context, model(), made(signals, [3, 1, 3, 0]), PROVENANCE)
    assert dataset is not None
    with opened(context, dataset) as data:
        found = data.sample_labels(None)
        assert found is not None
        assert found.tolist() == [3, 1, 3, 0]


def test_class_names_are_the_models_or_numbers() -> None:
    labels = np.array([2, 0, 2], np.int64)
    named, short, unnamed = (ModelMetadata(labels=names) for names in (["a", "b", "c"], ["a", "b"], None))
    assert class_names(labels, named) == ["c", "a", "c"]
    assert class_names(labels, short) == class_names(labels, unnamed) == ["2", "0", "2"]


@pytest.mark.parametrize("synthetic", [None, np.empty((0, 3, 6, 5), np.float32), np.zeros((4, 13), np.float32)])
def test_inputs_without_a_kind_of_dataset_are_not_stored(synthetic: Floats | None, context: FileContext) -> None:
    assert synthetic_dataset(context, model(preprocessing=RGB), made(synthetic), PROVENANCE) is None
    assert context.stored == []


def test_a_large_set_of_inputs_is_sampled_evenly(context: FileContext, monkeypatch: pytest.MonkeyPatch) -> None:
    signals = np.arange(40, dtype=np.float32)[:, None, None] * np.ones((1, 1, 4), np.float32)
    monkeypatch.setattr(module, "_MAX_SAMPLES", 14)
    dataset = synthetic_dataset(context, model(), made(signals, list(range(40))), PROVENANCE)
    assert dataset is not None
    with opened(context, dataset) as data:
        assert isinstance(data, SignalsDataset)
        [batch] = data.batches(14)
        values = batch.inputs[:, 0, 0].tolist()
        assert (values[0], values[-1], len(values)) == (0.0, 39.0, 14)
        assert values == sorted(set(values))
        found = data.sample_labels(None)
        assert found is not None
        assert found.tolist() == values, "labels stay with their inputs"
    monkeypatch.setattr(module, "_MAX_BYTES", 5 * 16)
    fewer = synthetic_dataset(context, model(), made(signals), PROVENANCE)
    assert fewer is not None
    assert fewer.samples == 5


def test_the_report_names_the_dataset(context: FileContext) -> None:
    dataset = synthetic_dataset(context, model(), made(np.zeros((9, 1, 4), np.float32)), PROVENANCE)
    construct: Any = QuantizationReport.model_construct
    before: QuantizationReport = construct(tuning=TUNING)
    named = with_dataset(before, dataset).tuning
    assert named is not None
    assert named.synthetic_dataset_id == "dts_made"
    assert with_dataset(before, None) is before

"""What explanations and features see is the same whatever the layout and the type of a model's image input."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.graded_sets import embed, model_of
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.images import ImagesDataset
from tests.engines.image_networks import CLASSES, SIDE, image_network
from tests.workers.explanation import scenes
from tests.workers.explanation.unit_examples import explained_unit
from workers.explanation.activations import OnnxActivationExtractor, stream_activations
from workers.explanation.analyses.class_scores import ClassScores
from workers.explanation.analyses.correctness import image_correctness
from workers.explanation.probe.images import ImageProbeDataset

LABELS = [f"class {number}" for number in range(CLASSES)]
OTHERS = [(True, False), (False, True), (True, True)]
every_other_kind = pytest.mark.parametrize(
    ("channels_last", "whole_numbers"), OTHERS, ids=["NHWC", "NCHW uint8", "NHWC uint8"]
)


def network(*, channels_last: bool = False, whole_numbers: bool = False) -> tuple[bytes, ModelMetadata]:
    preprocessing = Preprocessing(
        size=[SIDE, SIDE],
        layout="channels_last" if channels_last else "channels_first",
        scale=1 if whole_numbers else 1 / 255,
    )
    metadata = ModelMetadata(task=Task.IMAGE_CLASSIFICATION, preprocessing=preprocessing, labels=LABELS)
    return image_network(channels_last=channels_last, whole_numbers=whole_numbers), metadata


@pytest.fixture(scope="module")
def folders() -> bytes:
    buffer = io.BytesIO()
    random = np.random.default_rng(1)
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(12):
            file = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (20, 24, 3), np.uint8)).save(file, "PNG")
            archive.writestr(f"{LABELS[number % CLASSES]}/{number:02}.png", file.getvalue())
    return buffer.getvalue()


def activations(content: bytes, metadata: ModelMetadata, file: Path) -> list[np.ndarray[Any, Any]]:
    request = ExplanationRequest(dataset_id="d", layer="units")
    with ConceptsDataset.open(file, Settings(_env_file=None)) as data:
        assert isinstance(data, ConceptsDataset)
        probe = ImageProbeDataset(data, model_of(content, metadata), request)
        extractor = OnnxActivationExtractor(content, metadata, ["units"], "logits")
        return [np.asarray(sample.maps[0]) for sample in stream_activations(extractor, probe)]


@every_other_kind
def test_activations(channels_last: bool, whole_numbers: bool, tmp_path: Path) -> None:
    file = tmp_path / "scenes.zip"
    file.write_bytes(scenes.scenes(8))
    expected = activations(*network(), file)
    found = activations(*network(channels_last=channels_last, whole_numbers=whole_numbers), file)
    assert np.ptp(expected[0]) > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@every_other_kind
def test_class_scores(channels_last: bool, whole_numbers: bool) -> None:
    images = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)) for seed in (0, 1)]
    scores = []
    for content, metadata in (network(), network(channels_last=channels_last, whole_numbers=whole_numbers)):
        scores.append(ClassScores(content, model_of(content, metadata))(images))
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-4)


@every_other_kind
def test_correctness(channels_last: bool, whole_numbers: bool, folders: bytes, tmp_path: Path) -> None:
    file = tmp_path / "folders.zip"
    file.write_bytes(folders)
    units = [explained_unit(number, layer="units", threshold=1.0) for number in range(8)]
    found = []
    for content, metadata in (network(), network(channels_last=channels_last, whole_numbers=whole_numbers)):
        with ImagesDataset.open(file, Settings(_env_file=None)) as data:
            assert isinstance(data, ImagesDataset)
            found.append(image_correctness(content, model_of(content, metadata), data, units, lambda _: None))
    assert found[0].fires.any()
    assert not found[0].fires.all()
    np.testing.assert_array_equal(found[1].fires, found[0].fires)
    np.testing.assert_array_equal(found[1].correct, found[0].correct)


@every_other_kind
def test_features(channels_last: bool, whole_numbers: bool, folders: bytes) -> None:
    expected = embed(*network(), "units", folders, DatasetKind.IMAGES)
    found = embed(
        *network(channels_last=channels_last, whole_numbers=whole_numbers), "units", folders, DatasetKind.IMAGES
    )
    assert np.ptp(expected.rows) > 0.1
    np.testing.assert_allclose(found.rows, expected.rows, rtol=1e-4, atol=1e-5)

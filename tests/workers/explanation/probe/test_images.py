"""Probe datasets of images."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.graded_sets import model_of
from faceter.contracts.explanations import DerivedConcept, ExplanationRequest
from faceter.contracts.models import ModelMetadata
from faceter.contracts.preprocessing import Preprocessing, ResizeRule
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from tests.workers.explanation import scenes
from workers.explanation.probe.dataset import InputPlacement, ProbeBatch
from workers.explanation.probe.images import ImageProbeDataset
from workers.explanation.upsampling import visible_pixels


def read(
    path: Path, size: tuple[int, int], request: ExplanationRequest, resize: ResizeRule
) -> tuple[ProbeBatch, Image.Image]:
    """Read one image of this width and height with random labels; return it and its label map."""
    rng = np.random.default_rng(3)
    labels = Image.fromarray(rng.integers(0, 3, size[::-1]).astype(np.uint8))
    file = path / "one.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, image in (("images/a.png", Image.new("RGB", size, (200, 30, 30))), ("labels/x/a.png", labels)):
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            archive.writestr(name, buffer.getvalue())
        archive.writestr("concepts.json", json.dumps({"x": ["one", "two"]}))
    metadata = ModelMetadata(preprocessing=Preprocessing(size=[scenes.SIDE, scenes.SIDE], resize=resize))
    model = model_of(scenes.color_network().SerializeToString(), metadata)
    with ConceptsDataset.open(file, Settings(_env_file=None)) as data:
        assert isinstance(data, ConceptsDataset)
        return ImageProbeDataset(data, model, request).read([0]), labels


@pytest.mark.parametrize("grid", [(5, 7), (112, 112), (13, 40), (1, 1)])
@pytest.mark.parametrize("size", [(40, 13), (100, 99)])
def test_labels_are_resized_by_nearest_neighbour(tmp_path: Path, grid: tuple[int, int], size: tuple[int, int]) -> None:
    request = ExplanationRequest(dataset_id="d", layer="l", resolution=list(grid))
    found, labels = read(tmp_path, size, request, ResizeRule.STRETCH)
    expected = np.asarray(labels.resize(grid[::-1], Image.Resampling.NEAREST))
    assert found.concepts[0].label_maps.reshape(grid).tolist() == expected.tolist()


def test_derived_concepts(tmp_path: Path) -> None:
    derived = [DerivedConcept.POSITION, DerivedConcept.COLOR]
    request = ExplanationRequest(dataset_id="d", layer="l", resolution=[6, 3], derived_concepts=derived)
    found, _ = read(tmp_path, (30, 30), request, ResizeRule.STRETCH)
    _, row, column, color = found.concepts[0].label_maps.reshape(-1, 6, 3)
    assert row[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert column[0].tolist() == [1, 2, 3]
    assert set(color.reshape(-1).tolist()) == {9}, "red is the ninth name"


@pytest.mark.parametrize(
    ("resize", "size", "placement"),
    [
        (ResizeRule.STRETCH, (30, 90), InputPlacement()),
        (ResizeRule.CROP, (96, 48), InputPlacement((1.0, 2.0), (0.0, -0.5))),
        (ResizeRule.PAD, (96, 48), InputPlacement((0.5, 1.0), (0.25, 0.0))),
    ],
)
def test_placement_in_the_input(
    tmp_path: Path, resize: ResizeRule, size: tuple[int, int], placement: InputPlacement
) -> None:
    found, _ = read(tmp_path, size, ExplanationRequest(dataset_id="d", layer="l"), resize)
    (placed,) = found.placements
    assert placed.scale == pytest.approx(placement.scale)
    assert placed.offset == pytest.approx(placement.offset)
    visible = visible_pixels((4, 4), placed)
    assert (visible is None) == (resize is not ResizeRule.CROP)

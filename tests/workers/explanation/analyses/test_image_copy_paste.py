"""Regions of concepts pasted into other images."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.analyses import CopyPasteRequest
from faceter.contracts.explanations import Operator
from faceter.contracts.preprocessing import Decoder
from faceter.contracts.settings import Settings
from faceter.contracts.units import Unit
from faceter.datasets.concepts import ConceptsDataset
from faceter.explanations.drawing.canvas import UNIT_COLOUR
from faceter.explanations.formulas import Concept, Formula
from tests.workers.explanation import scenes
from tests.workers.explanation.unit_examples import explained_unit
from tests.workers.figures.images import opened, where
from workers.explanation.analyses.concept_regions import ConceptRegion, find_regions
from workers.explanation.analyses.edit_proposals import required_concepts, unit_weights
from workers.explanation.analyses.image_copy_paste import copy_paste_images

CONCEPTS = [Concept(name, "object") for name in scenes.COLORS]


def unit(number: int, formula: Formula, *weights: float) -> Unit:
    return explained_unit(
        number, formula, CONCEPTS, weights={f"{label}": weight for label, weight in enumerate(weights)}
    )


@pytest.fixture
def streets(tmp_path: Path) -> ConceptsDataset:
    path = tmp_path / "streets.zip"
    path.write_bytes(scenes.scenes(12))
    data = ConceptsDataset.open(path, Settings(_env_file=None))
    assert isinstance(data, ConceptsDataset)
    return data


class Redness:
    """A detector of red pixels: the class is predicted if a tenth of the image is red."""

    threshold = 0.1
    preprocessing = scenes.PREPROCESSING

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        red = [
            (pixels[..., 0] > pixels[..., 2] + 40).mean()
            for image in images
            for pixels in [np.asarray(image, np.int64)]
        ]
        return np.stack([np.array(red), 1 - np.array(red)], axis=1) if red else np.zeros((0, 2))


def test_a_region_is_the_largest_connected_component_pasted_at_its_place(streets: ConceptsDataset) -> None:
    with streets:
        regions = find_regions(streets)
        assert set(regions) == {"car", "tree", "sky"}
        car = regions["car"][0]
        labels = streets.label_maps(car.index)[0]
        left, top, right, bottom = car.box
        assert ((labels[top:bottom, left:right] == 1) >= car.mask).all()
        unlabelled = Image.new("RGB", (scenes.SIDE, scenes.SIDE))
        pasted = np.asarray(car.pasted(unlabelled, streets.image(car.index)))
        assert (np.asarray(pasted.any(axis=2))[top:bottom, left:right] == car.mask).all()
        assert pasted.any(axis=2).sum() == car.mask.sum()


def test_a_region_is_scaled_to_the_image_it_is_pasted_into() -> None:
    region = ConceptRegion("car", 0, (10, 20, 30, 40), np.ones((20, 20), np.bool_))
    source, into = Image.new("RGB", (100, 100), (255, 0, 0)), Image.new("RGB", (50, 200))
    pasted = np.asarray(region.pasted(into, source))
    assert (pasted[40:80, 5:15, 0] == 255).all()
    assert pasted[..., 0].sum() == 255 * 40 * 10


def test_weights_are_those_of_the_model_or_correlations() -> None:
    known = [unit(0, Formula(0), 0.5, -1.0), unit(1, Formula(1), 2.0, 0.0)]
    peaks, scores = np.array([[1.0, 0, 1, 0], [0, 1, 0, 0]]), np.array([0.9, 0.1, 0.8, 0.2])
    assert unit_weights(known, "1", peaks, scores).tolist() == [-1.0, 0.0]
    unknown = [unit(0, Formula(0)), unit(1, Formula(1))]
    expected = [np.corrcoef(row, scores)[0, 1] for row in peaks]
    assert unit_weights(unknown, "1", peaks, scores) == pytest.approx(expected)


def test_only_concepts_required_by_units_of_positive_weight_are_pasted() -> None:
    units = [
        unit(0, Formula(0, ((Operator.AND_NOT, 1),))),
        unit(1, Formula(2)),
        unit(2, Formula(1)),
    ]
    required = required_concepts(units, np.array([0.5, 0.9, -0.4]), 10, ["car", "tree", "sky"])
    assert list(required) == ["sky", "car"]
    assert required["car"].unit == 0


def test_pasting_required_concepts_changes_predictions_to_the_class(streets: ConceptsDataset) -> None:
    units = [unit(0, Formula(0), 1.0, -1.0), unit(1, Formula(2), -1.0, 1.0)]
    fires = np.ones((2, 12), np.bool_)
    request = CopyPasteRequest(label="0", tries=30, seed=1)
    with streets:
        result, files, warning = copy_paste_images(units, streets, fires, ["0", "1"], Redness(), request)  # type: ignore[arg-type]
        again, *_ = copy_paste_images(units, streets, fires, ["0", "1"], Redness(), request)  # type: ignore[arg-type]
    assert warning is None
    assert result.changes == ["paste car"]
    assert result.proposed.tries == 30
    assert result.proposed.rate > 0.5
    assert result.control.rate < result.proposed.interval[0]
    assert all(edit.change.startswith("paste car of images/") for edit in result.examples)
    assert again == result
    assert set(files) == {"examples.png", *(name for edit in result.examples for name in edit.images)}
    edit = result.examples[0]
    original, donor, changed = (opened(files[name]) for name in edit.images)
    assert edit.change == f"paste car of {edit.donor}"
    assert edit.donor not in edit.before
    assert original.shape == donor.shape == changed.shape
    assert 0 < (original != changed).any(axis=2).mean() < 1
    assert len(where(donor, UNIT_COLOUR))


@pytest.mark.parametrize(
    ("units", "label", "words"),
    [
        ([unit(0, Formula(0), -1.0, -1.0)], "0", "No formula of a unit with a positive weight to '0'"),
        ([unit(0, Formula(0, ((Operator.OR, 1), (Operator.OR, 2))), 1.0, 0.0)], "0", "Give fewer `units`"),
        ([unit(0, Formula(0), 1.0, 1.0)], "1", "in all images already"),
    ],
)
def test_nothing_to_paste_is_explained(streets: ConceptsDataset, units: list[Unit], label: str, words: str) -> None:
    request = CopyPasteRequest(label=label, tries=10)
    with streets:
        fires = np.ones((1, 12), np.bool_)
        result, _, warning = copy_paste_images(units, streets, fires, ["0", "1"], Redness(), request)  # type: ignore[arg-type]
    assert result.proposed.tries == 0
    assert warning is not None
    assert words in warning


class Scored(Redness):
    """Keeps the images that it scores."""

    preprocessing = scenes.PREPROCESSING.model_copy(update={"decoder": Decoder.SCALED})

    def __init__(self) -> None:
        self.images: list[NDArray[np.int64]] = []

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float64]:
        self.images.extend(np.asarray(image, np.int64) for image in images)
        return super().__call__(images)


def enlarged(content: bytes, factor: int) -> bytes:
    """Return a dataset of scenes with larger images, as JPEG, and larger labels."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w") as target:
        for name in source.namelist():
            if not name.endswith(".png"):
                target.writestr(name, source.read(name))
                continue
            with Image.open(io.BytesIO(source.read(name))) as image:
                large = image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
            is_label, file = name.startswith("labels/"), io.BytesIO()
            large.save(file, "PNG" if is_label else "JPEG")
            target.writestr(name if is_label else name.replace(".png", ".jpg"), file.getvalue())
    return buffer.getvalue()


def test_pasting_changes_only_the_region_of_a_reduced_image(tmp_path: Path) -> None:
    (tmp_path / "large.zip").write_bytes(enlarged(scenes.scenes(6), 8))
    scores, units = Scored(), [unit(0, Formula(0), 1.0, -1.0)]
    request = CopyPasteRequest(label="0", tries=10, seed=1)
    with ConceptsDataset.open(tmp_path / "large.zip", Settings(_env_file=None)) as data:
        assert isinstance(data, ConceptsDataset)
        assert data.image(0).width == 8 * scenes.SIDE
        result, *_ = copy_paste_images(units, data, np.ones((1, 6), np.bool_), ["0", "1"], scores, request)  # type: ignore[arg-type]
    assert result.proposed.tries
    assert {image.shape for image in scores.images} == {(scenes.SIDE, scenes.SIDE, 3)}
    originals, with_car = scores.images[:6], scores.images[6 : 6 + result.proposed.tries]
    changed = [min((image != original).any(axis=2).mean() for original in originals) for image in with_car]
    assert 0 < max(changed) <= (25 / scenes.SIDE) ** 2, "a car has 24 × 24 pixels at most"

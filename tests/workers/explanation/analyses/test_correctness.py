"""Firing and correctness in labelled datasets."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.explained import LATE, fastestdet_on_camvid
from benchmarks.graded_sets import model_of
from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from tests.workers.explanation import scenes
from tests.workers.explanation.unit_examples import explained_unit
from workers.explanation.analyses.correctness import box_correctness, image_correctness


def painted(path: Path, folders: bool = True) -> ImagesDataset:
    """Images all of one colour, one of them in the wrong folder."""
    file = path / "painted.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, color in scenes.COLORS.items():
            for number in range(3):
                shown = scenes.COLORS["tree"] if (name, number) == ("car", 2) else color
                buffer = io.BytesIO()
                Image.new("RGB", (30, 20), shown).save(buffer, "PNG")
                archive.writestr(f"{name}/{number}.png" if folders else f"{name}{number}.png", buffer.getvalue())
    data = ImagesDataset.open(file, Settings(_env_file=None))
    assert isinstance(data, ImagesDataset)
    return data


def test_images_of_a_classifier(tmp_path: Path) -> None:
    content = scenes.color_network().SerializeToString()
    model = model_of(content, scenes.color_metadata())
    units = [explained_unit(n, layer="colors", threshold=0.2) for n in range(4)]
    progress: list[float] = []
    with painted(tmp_path) as data:
        found = image_correctness(content, model, data, units, progress.append)
        names = list(data.names)
    red, green, blue = (np.array([name.startswith(folder) for name in names]) for folder in scenes.COLORS)
    wrong = np.array([name == "car/2.png" for name in names])
    assert found.fires.tolist() == [(red & ~wrong).tolist(), (green | wrong).tolist(), blue.tolist(), [False] * 9]
    assert found.correct.tolist() == (~wrong).tolist()
    assert progress[-1] == 1


def test_images_without_classes_are_refused(tmp_path: Path) -> None:
    content = scenes.color_network().SerializeToString()
    model = model_of(content, scenes.color_metadata())
    with painted(tmp_path, folders=False) as data, pytest.raises(FaceterError, match="class folders"):
        image_correctness(content, model, data, [explained_unit(0, layer="colors", threshold=0.2)], lambda _: None)


def test_boxes_of_a_detector(shared_data: Path) -> None:
    subject = fastestdet_on_camvid(shared_data)
    coco = 80
    units = [
        explained_unit(0, layer=LATE, threshold=-1e9),
        explained_unit(1, layer=LATE, threshold=1e9),
        explained_unit(126, layer=LATE, threshold=0.1),
    ]
    with DetectionDataset.open(shared_data / "detection" / "indoor.zip", Settings(_env_file=None)) as data:
        assert isinstance(data, DetectionDataset)
        labels = list(dict.fromkeys([*data.classes, *(f"class {number}" for number in range(coco))]))[:coco]
        metadata = subject.model.metadata.model_copy(update={"labels": labels})
        found = box_correctness(
            subject.content, subject.model.model_copy(update={"metadata": metadata}), data, units, lambda _: None
        )
        boxes = sum(len(truth.boxes) for truth in data.truths)
    assert found.fires.shape == (3, boxes)
    assert found.fires[0].all()
    assert not found.fires[1].any()
    assert 0 < found.fires[2].mean() < 1
    assert found.correct.shape == (boxes,)

"""Where units fire in a labelled dataset, and what the model gets right there."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.explained import LATE, fastestdet_on_camvid
from benchmarks.graded_sets import model_of
from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import open_dataset
from tests.workers.explanation import scenes
from tests.workers.explanation.units import explained_unit
from workers.explanation.analyses.labelled import on_boxes, on_images


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
    data = open_dataset(file, DatasetKind.IMAGES, Settings(_env_file=None))
    assert isinstance(data, ImagesDataset)
    return data


def test_images_of_a_classifier(tmp_path: Path) -> None:
    content = scenes.color_network().SerializeToString()
    model = model_of(content, scenes.color_metadata())
    units = [explained_unit(n, layer="colors", threshold=0.2) for n in range(4)]
    said: list[float] = []
    with painted(tmp_path) as data:
        found = on_images(content, model, data, units, said.append)
        names = list(data.names)
    red, green, blue = (np.array([name.startswith(folder) for name in names]) for folder in scenes.COLORS)
    wrong = np.array([name == "car/2.png" for name in names])
    assert found.fires.tolist() == [(red & ~wrong).tolist(), (green | wrong).tolist(), blue.tolist(), [False] * 9]
    assert found.right.tolist() == (~wrong).tolist()
    assert said[-1] == 1


def test_images_without_classes_are_refused(tmp_path: Path) -> None:
    content = scenes.color_network().SerializeToString()
    model = model_of(content, scenes.color_metadata())
    with painted(tmp_path, folders=False) as data, pytest.raises(FaceterError, match="class folders"):
        on_images(content, model, data, [explained_unit(0, layer="colors", threshold=0.2)], lambda _: None)


def test_boxes_of_a_detector(shared_data: Path) -> None:
    subject = fastestdet_on_camvid(shared_data)
    coco = 80
    units = [
        explained_unit(0, layer=LATE, threshold=-1e9),
        explained_unit(1, layer=LATE, threshold=1e9),
        explained_unit(126, layer=LATE, threshold=0.1),
    ]
    with open_dataset(
        shared_data / "detection" / "indoor.zip", DatasetKind.DETECTION, Settings(_env_file=None)
    ) as data:
        assert isinstance(data, DetectionDataset)
        labels = list(dict.fromkeys([*data.classes, *(f"class {number}" for number in range(coco))]))[:coco]
        metadata = subject.model.metadata.model_copy(update={"labels": labels})
        found = on_boxes(
            subject.content, subject.model.model_copy(update={"metadata": metadata}), data, units, lambda _: None
        )
        boxes = sum(len(truth.boxes) for truth in data.truths)
    assert found.fires.shape == (3, boxes)
    assert found.fires[0].all()
    assert not found.fires[1].any()
    assert 0 < found.fires[2].mean() < 1
    assert found.right.shape == (boxes,)

"""The classes of a dataset are those of a model, or the request is refused."""

from pathlib import Path
from typing import Any

import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.accuracy import validate_classes
from faceter.datasets.kinds import open_inputs
from tests.datasets.archives import coco, detection_members, image, write_zip

SETTINGS = Settings(_env_file=None)


def validate(
    path: Path,
    members: dict[str, bytes],
    labels: list[str] | None,
    count: int | None,
    kind: DatasetKind = DatasetKind.IMAGES,
) -> None:
    with open_inputs(write_zip(path / "a.zip", members), kind, SETTINGS) as data:
        validate_classes(data, labels, count)


def folders(*names: Any) -> dict[str, bytes]:
    return {f"{name}/p.png": image() for name in names}


@pytest.mark.parametrize(
    ("names", "labels", "count"),
    [
        (["cat", "dog"], None, 2),
        (["cat", "dog"], None, None),
        (["cat"], ["dog", "cat"], 2),
        (range(12), None, 12),
        ([0, 10], None, 11),
        ([0, 10], None, 1000),
        ([3, 1], ["a", "b", "c", "d"], 4),
    ],
)
def test_classes_that_fit(tmp_path: Path, names: list[Any], labels: list[str] | None, count: int | None) -> None:
    validate(tmp_path, folders(*names), labels, count)


@pytest.mark.parametrize(
    ("names", "labels", "count", "words"),
    [
        (["cat", "dog"], None, 3, "has 2 classes and the model 3"),
        (["cat", "dog"], ["cat", "emu"], 2, "no labels of the model: 'dog'"),
        (range(1, 13), None, 12, "numbers up to 12, which stand for the model's outputs, and it has 12, from 0 to 11"),
        (range(1, 13), [f"label {number}" for number in range(12)], 12, "'12'. Its labels"),
    ],
)
def test_classes_that_do_not(
    tmp_path: Path, names: list[Any], labels: list[str] | None, count: int | None, words: str
) -> None:
    with pytest.raises(FaceterError) as caught:
        validate(tmp_path, folders(*names), labels, count)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert words in caught.value.detail


def test_boxes_that_are_all_ignored_in_matching(tmp_path: Path) -> None:
    crowd = {"id": 0, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 20], "iscrowd": 1}
    members = detection_members(coco(annotations=[crowd]))
    with pytest.raises(FaceterError, match="no annotated box, but for those ignored in matching") as caught:
        validate(tmp_path, members, ["cat", "sofa"], None, DatasetKind.DETECTION)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    validate(tmp_path, detection_members(), ["cat", "sofa"], None, DatasetKind.DETECTION)

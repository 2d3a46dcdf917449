"""COCO files as people have them: text ids, masks without boxes, other names and places, several parts."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.datasets.archives import coco, detection_members, image
from tests.datasets.detection_zips import opened, refused

CONTENT = json.dumps(coco()).encode()


def as_text(value: Any) -> Any:
    """Return annotations with all ids as texts."""
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if isinstance(value, dict):
        return {key: f"n{item}" if key.endswith("id") else as_text(item) for key, item in value.items()}
    return value


def test_ids_may_be_texts(tmp_path: Path) -> None:
    with opened(tmp_path, detection_members(as_text(coco()))) as data:
        data.verify()
        assert data.classes == ["sofa", "cat"]
        assert [data.classes[number] for truth in data.truths for number in truth.classes] == ["cat", "sofa", "sofa"]


def test_digits_are_numbers_however_they_are_written(tmp_path: Path) -> None:
    images = [{"id": "7", "file_name": "a.png"}, {"id": 8.0, "file_name": "b.png"}]
    categories = [{"id": "10", "name": "sofa"}, {"id": 9, "name": "cat"}]
    annotations = [
        {"id": "1", "image_id": 7, "category_id": 10, "bbox": [1, 2, 3, 4]},
        {"id": 2, "image_id": "8", "category_id": "9", "bbox": [1, 2, 3, 4]},
    ]
    content = coco(images=images, categories=categories, annotations=annotations)
    with opened(tmp_path, detection_members(content)) as data:
        data.verify()
        assert data.classes == ["cat", "sofa"]
        assert [truth.classes.tolist() for truth in data.truths] == [[1], [0]]


def test_masks_stand_in_for_boxes_that_are_missing(tmp_path: Path) -> None:
    masks: list[dict[str, Any]] = [
        {"segmentation": {"size": [30, 40], "counts": [31, 3, 27, 3, 1136]}, "iscrowd": 1},
        {"segmentation": [[1, 2, 11, 2, 11, 22, 1, 22]], "bbox": []},
        {"segmentation": [[1, 2, 11, 2, 11, 22]], "area": 7},
        {"segmentation": [[0, 0, 1, 0, 1, 1]], "bbox": [5, 5, 5, 5]},
    ]
    annotations = [{"id": place, "image_id": 7, "category_id": 1, **mask} for place, mask in enumerate(masks)]
    with opened(tmp_path, detection_members(coco(annotations=annotations))) as data:
        data.verify()
        truth = data.truths[0]
        assert truth.boxes.tolist() == [[1, 1, 3, 4], [1, 2, 11, 22], [1, 2, 11, 22], [5, 5, 10, 10]]
        assert truth.areas.tolist() == [6, 200, 7, 25]
        assert truth.crowd.tolist() == [1, 0, 0, 0]
    broken = [{"id": 5, "image_id": 7, "category_id": 1, "segmentation": {"size": [2, 2], "counts": [9]}}]
    detail = refused(tmp_path, detection_members(coco(annotations=broken)))
    assert "annotation 5 has no bbox, and a segmentation that is empty or damaged, {" in detail


@pytest.mark.parametrize(("value", "crowd"), [(0, 0), (1, 1), ("0", 0), ("1", 1), (True, 1), (None, 0), (1.0, 1)])
def test_what_is_a_crowd(tmp_path: Path, value: Any, crowd: int) -> None:
    entry = {"id": 5, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": value}
    with opened(tmp_path, detection_members(coco(annotations=[entry]))) as data:
        assert data.truths[0].crowd.tolist() == [crowd]


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        ("annotations/instances_val2017.json", "val2017/"),
        ("coco/annotations/instances_val2017.json", "coco/images/val2017/"),
        ("a/b/annotations.json", "a/b/images/"),
        ("annotations.json", "photos/"),
        ("valid/_annotations.coco.json", "valid/"),
        ("set/labels.json", "set/data/"),
        ("set/Annotations.JSON", "set/"),
    ],
)
def test_other_names_and_places(tmp_path: Path, file: str, folder: str) -> None:
    members = {file: CONTENT, f"{folder}a.png": image(), f"{folder}b.png": image(), "README.txt": b"x"}
    with opened(tmp_path, members) as data:
        data.verify()
        assert data.names == [f"{folder}a.png", f"{folder}b.png"]
        assert data.warnings == ["ignored, not images: 'README.txt'"]


@pytest.mark.parametrize(
    "file_name", ["images/a.png", "./a.png", "/home/me/set/images/a.png", "D:\\set\\images\\a.png", "train/a.png"]
)
def test_paths_from_other_machines(tmp_path: Path, file_name: str) -> None:
    content = coco(images=[{"id": 7, "file_name": file_name}, {"id": 8, "file_name": "b.png"}])
    with opened(tmp_path, detection_members(content)) as data:
        assert data.names == ["images/a.png", "images/b.png"]


def test_names_in_other_upper_and_lower_case_are_found_and_named(tmp_path: Path) -> None:
    content = coco(images=[{"id": 7, "file_name": "A.PNG"}, {"id": 8, "file_name": "b.png"}])
    with opened(tmp_path, detection_members(content)) as data:
        assert data.names == ["images/a.png", "images/b.png"]
        assert data.warnings == ["found in other upper and lower case than in annotations.json: 'A.PNG'"]


def test_letters_are_compared_however_they_are_encoded(tmp_path: Path) -> None:
    form = [unicodedata.normalize(name, "café") for name in ("NFC", "NFD")]
    content = coco(
        images=[{"id": 7, "file_name": f"{form[0]}.png"}],
        categories=[{"id": 1, "name": form[1]}],
        annotations=[{"id": 0, "image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    )
    members = {"annotations.json": json.dumps(content).encode(), f"images/{form[1]}.png": image()}
    with opened(tmp_path, members) as data:
        data.verify()
        assert data.classes == ["café"]
        assert data.labels_for(["x", form[0]]) == data.labels_for(["x", form[1]]) == [1]


def test_one_image_by_two_names_is_refused(tmp_path: Path) -> None:
    content = coco(images=[{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "images/a.png"}])
    assert "lists 'images/a.png' twice, by different names" in refused(tmp_path, detection_members(content))


def test_parts_of_one_set_are_joined(tmp_path: Path) -> None:
    box = {"id": 0, "image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]}
    members: dict[str, bytes] = {}
    for part, classes in (("train", ["cat", "dog"]), ("valid", ["dog", "emu"])):
        categories = [{"id": number, "name": name} for number, name in enumerate(classes)]
        content = {"images": [{"id": 1, "file_name": "1.png"}], "categories": categories, "annotations": [box]}
        members |= {f"{part}/_annotations.coco.json": json.dumps(content).encode(), f"{part}/1.png": image()}
    with opened(tmp_path, members) as data:
        summary = data.verify()
        assert (data.names, data.classes) == (["train/1.png", "valid/1.png"], ["cat", "dog", "emu"])
        assert summary.class_counts == {"cat": 1, "dog": 1}
        assert (
            "read as parts of one set: 'train/_annotations.coco.json', 'valid/_annotations.coco.json'" in data.warnings
        )
    twice = {"instances_a.json": CONTENT, "instances_b.json": CONTENT, "images/a.png": image(), "images/b.png": image()}
    assert "'images/a.png' is annotated in 'instances_a.json' and in 'instances_b.json'" in refused(tmp_path, twice)


def test_several_files_of_other_names_are_named(tmp_path: Path) -> None:
    members = {"one.json": CONTENT, "two.json": CONTENT, "images/a.png": image(), "images/b.png": image()}
    assert "holds no annotations.json, only 'one.json', 'two.json'. Put it beside" in refused(tmp_path, members)


def test_instances_come_before_other_tasks(tmp_path: Path) -> None:
    members = {"annotations/captions_val.json": b"{}", "annotations/instances_val.json": CONTENT}
    with opened(tmp_path, {**members, "val/a.png": image(), "val/b.png": image()}) as data:
        assert len(data) == 2
        assert data.warnings == ["ignored, not images: 'annotations/captions_val.json'"]
        np.testing.assert_array_equal(data.truths[1].boxes, [[5.5, 5.5, 15.5, 15.5]])

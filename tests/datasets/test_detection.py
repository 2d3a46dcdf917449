import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import coco, detection_members, image, write_zip

SETTINGS = Settings(_env_file=None)


def refused(path: Path, members: dict[str, bytes], kind: ProblemKind = ProblemKind.INVALID_DATASET) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", members), DatasetKind.DETECTION, SETTINGS)
    assert caught.value.kind is kind
    return caught.value.detail


def annotation(**changes: Any) -> dict[str, Any]:
    return {"id": 0, "image_id": 7, "category_id": 1, "bbox": [1, 2, 10, 20], **changes}


def test_images_and_boxes_are_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", detection_members())
    summary = verify_dataset(path, DatasetKind.DETECTION, SETTINGS)
    assert summary.samples == 2
    assert summary.classes == ["cat", "sofa"]
    assert summary.class_counts == {"cat": 1, "sofa": 2}
    assert summary.warnings == []
    with DetectionDataset.open(path, SETTINGS) as dataset:
        assert dataset.names == ["images/a.png", "images/b.png"]
        first, second = dataset.truths
        assert first.boxes.tolist() == [[1, 2, 11, 22], [0, 0, 40, 30]]
        assert first.classes.tolist() == [0, 1]
        assert first.areas.tolist() == [150, 1200]
        assert first.crowd.tolist() == [0, 1]
        assert second.boxes.tolist() == [[5.5, 5.5, 15.5, 15.5]]
        (batch,) = dataset.batches(Preprocessing(size=[30, 40], scale=1), 4)
        assert batch.labels is None
        assert batch.inputs[:, :, 0, 0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_a_folder_around_everything_is_allowed(tmp_path: Path) -> None:
    members = {f"indoor/{name}": content for name, content in detection_members().items()}
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), DatasetKind.DETECTION, SETTINGS).samples == 2


def test_an_image_without_boxes_is_allowed(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", detection_members(coco(annotations=[annotation()])))
    with DetectionDataset.open(path, SETTINGS) as dataset:
        assert dataset.truths[1].boxes.shape == (0, 4)


def test_what_is_not_annotated_is_ignored_with_a_warning(tmp_path: Path) -> None:
    members = {**detection_members(), "images/c.png": image(), "notes.txt": b"x"}
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), DatasetKind.DETECTION, SETTINGS).warnings == [
        "ignored, not in annotations.json: 'images/c.png'",
        "ignored, not images: 'notes.txt'",
    ]


@pytest.mark.parametrize("bbox", [[-2, -2, 42, 32], [0, 0, 42, 32], [39, 29, 3, 3]])
def test_a_box_may_reach_two_pixels_beyond(tmp_path: Path, bbox: list[float]) -> None:
    members = detection_members(coco(annotations=[annotation(bbox=bbox)]))
    assert verify_dataset(write_zip(tmp_path / "a.zip", members), DatasetKind.DETECTION, SETTINGS).samples == 2


@pytest.mark.parametrize(
    "bbox",
    [
        [1, 2, -10, 20],
        [1, 2, 10, -20],
        [1, 2, 0, 20],
        [1, 2, 10],
        [1, 2, 10, 20, 30],
        [1, 2, 10, float("nan")],
        [1, 2, 10, float("inf")],
        [1, 2, 10, 10**400],
        [1, 2, 10, "20"],
        [1, 2, 10, True],
        [1, 2, 10, None],
        "1 2 10 20",
        None,
    ],
)
def test_impossible_boxes_are_refused(tmp_path: Path, bbox: object) -> None:
    detail = refused(tmp_path, detection_members(coco(annotations=[annotation(id=77, bbox=bbox)])))
    assert "annotation 77 has the impossible bbox" in detail


@pytest.mark.parametrize("bbox", [[100, 0, 10, 10], [0, 0, 43, 10], [0, 0, 10, 33], [-3, 0, 10, 10], [40, 0, 1, 1]])
def test_boxes_outside_their_image_are_refused(tmp_path: Path, bbox: list[float]) -> None:
    detail = refused(tmp_path, detection_members(coco(annotations=[annotation(bbox=bbox)])))
    assert "'images/a.png' is 40 × 30 pixels, but 1 of its boxes reach outside it" in detail


@pytest.mark.parametrize(
    ("annotations", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "must be an object"),
        ({}, "needs a list of objects 'images'"),
        (coco(images={"a": 1}), "needs a list of objects 'images'"),
        (coco(annotations=None), "needs a list of objects 'annotations'"),
        (coco(annotations=[1]), "needs a list of objects 'annotations'"),
        (coco(annotations=[]), "'annotations' of annotations.json is empty"),
        (coco(images=[]), "'images' of annotations.json is empty"),
        (coco(categories=[]), "'categories' of annotations.json is empty"),
        (coco(images=[{"id": 7, "file_name": "gone.png"}]), "not in images/: 'gone.png'"),
        (coco(images=[{"id": 7, "file_name": "../a.png"}]), "not in images/: '../a.png'"),
        (coco(images=[{"id": 7, "file_name": "a.png"}] * 2), "image 7 'a.png' is there twice"),
        (coco(images=[{"id": None, "file_name": "a.png"}]), "an image needs an 'id', a whole number or text"),
        (coco(images=[{"id": 7, "file_name": "a.png"}, {"id": "7", "file_name": "b.png"}]), "image 7 'b.png' is there"),
        (coco(images=[{"id": 7}]), "and a 'file_name'"),
        (coco(categories=[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]), "category 1 'dog' is there twice"),
        (coco(categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]), "category 2 'cat' is there twice"),
        (coco(categories=[{"id": 1}]), "a category needs"),
        (coco(annotations=[annotation(), annotation()]), "annotation 0 is there twice"),
        (coco(annotations=[annotation(image_id=9)]), "annotation 0 is of image 9, which is not listed"),
        (coco(annotations=[annotation(image_id=[7])]), "annotation 0 is of image [7], which is not listed"),
        (coco(annotations=[annotation(category_id=2)]), "annotation 0 is of category 2, which is not listed"),
        (coco(annotations=[annotation(id=[1])]), "must be a whole number or text"),
        (
            coco(images=[{"id": 7, "file_name": "a.png", "width": 30, "height": 40}], annotations=[annotation()]),
            "says 30 × 40",
        ),
    ],
)
def test_bad_annotations_are_refused(tmp_path: Path, annotations: Any, words: str) -> None:
    assert words in refused(tmp_path, detection_members(annotations))


def test_the_first_few_faults_are_named(tmp_path: Path) -> None:
    faults = [annotation(id=number, bbox=[0, 0, -1, 1]) for number in range(9)]
    detail = refused(tmp_path, detection_members(coco(annotations=faults)))
    assert "annotation 0 " in detail
    assert "annotation 4 " in detail
    assert "annotation 5 " not in detail
    assert "And 4 more." in detail
    gone = [{"id": number, "file_name": f"{number}.png"} for number in range(9)]
    detail = refused(tmp_path, detection_members(coco(images=gone)))
    assert "'0.png', '1.png', '2.png', '3.png', '4.png' and 4 more" in detail


def test_an_archive_without_annotations_is_refused(tmp_path: Path) -> None:
    assert "no annotations.json" in refused(tmp_path, {"images/a.png": image()})


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    members = {**detection_members(), "images/b.png": image()[:50]}
    assert "'images/b.png'" in refused(tmp_path, members, ProblemKind.INVALID_IMAGE)


def test_classes_are_found_among_the_models_labels(tmp_path: Path) -> None:
    with DetectionDataset.open(write_zip(tmp_path / "a.zip", detection_members()), SETTINGS) as dataset:
        assert dataset.labels_for(None) == [0, 1]
        assert dataset.labels_for(["sofa", "x", "cat"]) == [2, 0]
        assert dataset.labels_for(["Cat", "couch"]) == [0, 1]
        with pytest.raises(FaceterError, match="no labels of the model: 'sofa'") as caught:
            dataset.labels_for(["cat", "dog"])
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_a_class_without_boxes_need_not_be_among_the_labels(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", detection_members(coco(annotations=[annotation()])))
    with DetectionDataset.open(path, SETTINGS) as dataset:
        assert dataset.labels_for(["cat"]) == [0, -1]


def test_the_names_of_pascal_voc_are_those_of_coco(shared_data: Path) -> None:
    coco_names = ["airplane", "couch", "dining_table", "motorcycle", "potted-plant", "tv"]
    with DetectionDataset.open(shared_data / "detection" / "indoor.zip", SETTINGS) as dataset:
        others = [name for name in dataset.classes if name not in VOC]
        numbers = dataset.labels_for([*others, *coco_names])
        found = {name: coco_names[numbers[i] - len(others)] for i, name in enumerate(dataset.classes) if name in VOC}
    assert found == VOC


VOC = {
    "aeroplane": "airplane",
    "sofa": "couch",
    "diningtable": "dining_table",
    "motorbike": "motorcycle",
    "pottedplant": "potted-plant",
    "tvmonitor": "tv",
}


def test_a_real_set_passes(shared_data: Path) -> None:
    summary = verify_dataset(shared_data / "detection" / "indoor.zip", DatasetKind.DETECTION, SETTINGS)
    assert summary.samples == 42
    assert len(summary.classes) == 80
    assert sum(summary.class_counts.values()) == 186
    assert summary.class_counts["chair"] == 36


def test_boxes_are_float64_so_that_nothing_is_rounded(tmp_path: Path) -> None:
    members = detection_members(json.dumps(coco(annotations=[annotation(bbox=[0.1, 0.2, 0.3, 0.4])])).encode())
    with DetectionDataset.open(write_zip(tmp_path / "a.zip", members), SETTINGS) as dataset:
        assert dataset.truths[0].boxes.dtype == np.float64
        np.testing.assert_array_equal(dataset.truths[0].boxes, [[0.1, 0.2, 0.1 + 0.3, 0.2 + 0.4]])

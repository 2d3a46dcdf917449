from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.mean_average_precision import mean_average_precision
from faceter.vision.boxes import Detections
from tests.datasets.archives import coco, detection_members, write_zip
from tests.references.boxes import average_precision

SETTINGS = Settings(_env_file=None)
CLASSES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "never seen"}]


def dataset_of(path: Path, boxes: list[tuple[int, int, list[float]]]) -> DetectionDataset:
    """Make a dataset of (image 0 or 1, category, bbox)."""
    entries = [
        {"id": number, "image_id": 7 + image, "category_id": category, "bbox": bbox}
        for number, (image, category, bbox) in enumerate(boxes)
    ]
    members = detection_members(coco(categories=CLASSES, annotations=entries))
    return DetectionDataset.open(write_zip(path / "a.zip", members), SETTINGS)


def found(*boxes: tuple[float, int, list[float]]) -> Detections:
    """Make boxes of (score, class, corners)."""
    return Detections(
        np.array([corners for _, _, corners in boxes], np.float32).reshape(-1, 4),
        np.array([score for score, _, _ in boxes], np.float32),
        np.array([class_ for _, class_, _ in boxes], np.int64),
    )


def exact(truth: Any) -> Detections:
    return Detections(truth.boxes, np.linspace(0.9, 0.5, len(truth.boxes)), truth.classes)


def test_the_annotated_boxes_themselves_are_perfect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with dataset_of(tmp_path, [(0, 1, [1, 2, 10, 10]), (0, 2, [20, 5, 8, 8]), (1, 1, [0, 0, 5, 5])]) as dataset:
        figures = mean_average_precision([exact(truth) for truth in dataset.truths], dataset)
    assert figures.at_50 == pytest.approx(1)
    assert figures.at_50_to_95 == pytest.approx(1)
    assert capsys.readouterr().out == ""


def test_no_boxes_are_worth_nothing(tmp_path: Path) -> None:
    with dataset_of(tmp_path, [(0, 1, [1, 2, 10, 10])]) as dataset:
        assert mean_average_precision([found(), found()], dataset).at_50 == 0


def test_the_other_class_and_the_other_image_do_not_count(tmp_path: Path) -> None:
    with dataset_of(tmp_path, [(0, 1, [0, 0, 10, 10])]) as dataset:
        assert mean_average_precision([found((0.9, 1, [0, 0, 10, 10])), found()], dataset).at_50 == 0
        assert mean_average_precision([found(), found((0.9, 0, [0, 0, 10, 10]))], dataset).at_50 == 0
        assert mean_average_precision([found((0.9, 0, [0, 0, 10, 10])), found()], dataset).at_50 == pytest.approx(1)


def test_class_numbers_are_those_of_the_models_labels(tmp_path: Path) -> None:
    with dataset_of(tmp_path, [(0, 2, [0, 0, 10, 10])]) as dataset:
        boxes = [found((0.9, 0, [0, 0, 10, 10])), found()]
        assert mean_average_precision(boxes, dataset, ["dog", "cat"]).at_50 == pytest.approx(1)
        assert mean_average_precision(boxes, dataset, ["cat", "dog"]).at_50 == 0
        with pytest.raises(FaceterError, match="'dog'"):
            mean_average_precision(boxes, dataset, ["cat", "fox"])


def test_a_looser_box_counts_only_at_lower_overlaps(tmp_path: Path) -> None:
    with dataset_of(tmp_path, [(0, 1, [0, 0, 20, 20])]) as dataset:
        figures = mean_average_precision([found((0.9, 0, [0, 0, 20, 14.4])), found()], dataset)
    assert figures.at_50 == pytest.approx(1)
    assert figures.at_50_to_95 == pytest.approx(0.5)  # IoU 0.72: right at 0.5, 0.55, 0.6, 0.65, 0.7


def test_it_equals_the_definition_on_random_boxes(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    corners = np.sort(rng.integers(0, [[40], [30]], (40, 2, 2)), axis=2).astype(float)
    corners[..., 1] += 1
    boxes = [[float(x[0]), float(y[0]), float(x[1]), float(y[1])] for x, y in corners]
    image, class_ = rng.integers(0, 2, 40), rng.integers(0, 2, 40)
    truth_rows = [
        (int(image[i]), int(class_[i]) + 1, [b[0], b[1], b[2] - b[0], b[3] - b[1]]) for i, b in enumerate(boxes[:15])
    ]
    rows = [(float(rng.uniform()), int(class_[i]), boxes[i], int(image[i])) for i in range(40)]
    rows += [(0.3 + i / 100, int(class_[i]), boxes[i], int(image[i])) for i in range(0, 15, 2)]
    with dataset_of(tmp_path, truth_rows) as dataset:
        got = mean_average_precision(
            [found(*((score, number, box) for score, number, box, where in rows if where == p)) for p in (0, 1)],
            dataset,
        )
    per_class = []
    for number in (0, 1):
        answers = [[(score, box) for score, n, box, where in rows if (n, where) == (number, p)] for p in (0, 1)]
        truth = [[boxes[i] for i in range(15) if (class_[i], image[i]) == (number, p)] for p in (0, 1)]
        per_class.append([average_precision(answers, truth, 0.5 + step / 20) for step in range(10)])
    assert 0.1 < got.at_50 < 0.9
    assert got.at_50 == pytest.approx(np.mean([values[0] for values in per_class]), abs=1e-6)
    assert got.at_50_to_95 == pytest.approx(np.mean(per_class), abs=1e-6)


def test_some_images_only(tmp_path: Path) -> None:
    with dataset_of(tmp_path, [(0, 1, [0, 0, 10, 10]), (1, 1, [5, 5, 10, 10])]) as dataset:
        only = [found((0.9, 0, [5, 5, 15, 15]))]
        assert mean_average_precision(only, dataset, indices=[1]).at_50 == pytest.approx(1)
        with pytest.raises(ValueError, match="1 detections for 2 images"):
            mean_average_precision(only, dataset)


def test_without_an_annotated_box_there_is_no_figure(tmp_path: Path) -> None:
    with dataset_of(tmp_path, [(0, 1, [0, 0, 10, 10])]) as dataset, pytest.raises(ValueError, match="no annotated box"):
        mean_average_precision([found()], dataset, indices=[1])

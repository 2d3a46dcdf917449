# mypy: disable-error-code="no-untyped-call"
"""Mean average precision of a detector's boxes, by COCO's own code."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from faceter.datasets.detection import DetectionDataset
from faceter.vision.boxes import Detections


@dataclass(frozen=True)
class MeanAveragePrecision:
    """COCO's two usual figures, 0 to 1."""

    at_50: float
    """mAP@0.5: mean over classes of the average precision at IoU 0.5."""
    at_50_to_95: float
    """mAP@[.5:.95]: its mean over IoU 0.5, 0.55, … 0.95."""


def mean_average_precision(
    detections: Sequence[Detections],
    dataset: DetectionDataset,
    model_labels: Sequence[str] | None = None,
    indices: Sequence[int] | None = None,
) -> MeanAveragePrecision:
    """Return the mean average precision of a detector's boxes.

    Classes without annotated boxes are left out; only the best 100 boxes of a class in an image count.

    Args:
        detections: One ``Detections`` per image, in the image's own pixels, classes in the order of the model's labels.
            They should include low scores (see ``faceter.vision.detection.for_evaluation``).
        dataset: The images and their boxes.
        model_labels: The model's labels; if not given, class numbers are those of ``dataset.classes``.
        indices: Which images of the dataset the detections are of; all if not given.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if annotated classes are none of the labels.
        ValueError: If there are not as many detections as images, or no annotated box.

    References:
        Lin et al. 2014, "Microsoft COCO: Common Objects in Context", arXiv 1405.0312; package pycocotools.
    """
    chosen = list(range(len(dataset))) if indices is None else list(indices)
    truth, predicted = COCO(), COCO()
    numbers = dataset.labels_for(model_labels)
    truth.dataset = _document(_truth_annotations(dataset, chosen, numbers), len(chosen))
    predicted.dataset = _document(_predicted_annotations(detections, len(chosen)), len(chosen))
    if not truth.dataset["annotations"]:
        raise ValueError("there is no annotated box to measure against")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.createIndex()
        predicted.createIndex()
        evaluation = COCOeval(truth, predicted, "bbox")
        evaluation.params.imgIds = list(range(len(chosen)))
        evaluation.params.catIds = sorted({entry["category_id"] for entry in truth.dataset["annotations"]})
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # [IoU, recall, class] for all sizes, most boxes
    counted = precision[:, :, (precision > -1).all(axis=(0, 1))]
    if not counted.size:
        raise ValueError("there is no annotated box to measure against")
    return MeanAveragePrecision(at_50=float(counted[0].mean()), at_50_to_95=float(counted.mean()))


def _document(annotations: list[dict[str, Any]], images: int) -> dict[str, Any]:
    categories = sorted({entry["category_id"] for entry in annotations})
    return {
        "images": [{"id": position} for position in range(images)],
        "annotations": annotations,
        "categories": [{"id": number} for number in categories],
    }


def _truth_annotations(
    dataset: DetectionDataset, chosen: Sequence[int], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for position, index in enumerate(chosen):
        truth = dataset.truths[index]
        for box, class_, area, crowd in zip(truth.boxes, truth.classes, truth.areas, truth.crowd, strict=True):
            entry = _annotation(len(entries), position, numbers[int(class_)], box)
            entries.append({**entry, "area": float(area), "iscrowd": int(crowd)})
    return entries


def _predicted_annotations(detections: Sequence[Detections], images: int) -> list[dict[str, Any]]:
    if len(detections) != images:
        raise ValueError(f"{len(detections)} detections for {images} images")
    entries: list[dict[str, Any]] = []
    for position, boxes in enumerate(detections):
        for box, score, class_ in zip(boxes.boxes, boxes.scores, boxes.classes, strict=True):
            entry = _annotation(len(entries), position, int(class_), box)
            area = float(np.prod(box[2:] - box[:2]))
            entries.append({**entry, "area": area, "iscrowd": 0, "score": float(score)})
    return entries


def _annotation(count: int, image: int, class_: int, box: Any) -> dict[str, Any]:
    """Return one annotation; ids start at 1, since pycocotools treats a match with id 0 as no match."""
    left, top, right, bottom = (float(value) for value in box)
    return {
        "id": count + 1,
        "image_id": image,
        "category_id": class_,
        "bbox": [left, top, right - left, bottom - top],
    }

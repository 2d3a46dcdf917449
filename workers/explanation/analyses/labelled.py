"""Where units fire in a labelled dataset of its own, and what the model gets right there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Unit
from faceter.contracts.models import Model, Preprocessing
from faceter.datasets.detection import DetectionDataset, GroundTruth
from faceter.datasets.images import ImagesDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.graphs.check import load_model
from faceter.graphs.cut import cut
from faceter.graphs.packing import unpack_weights
from faceter.vision.boxes import Boxes, IntArray, iou_matrix
from faceter.vision.detection import decode_to_images
from faceter.vision.metadata import class_output
from faceter.vision.preprocess import Placement
from workers.explanation.images import frame_of
from workers.explanation.sampling import Sampler
from workers.host import processor_count
from workers.model_input import Batch, batch_of, checked_image_input, filled

Bits = NDArray[np.bool_]

_MATCHED = 0.5
_GRID = (112, 112)


@dataclass(frozen=True)
class Rightness:
    """What units do and what the model gets right, sample by sample, or box by box."""

    fires: Bits
    """bool [U, N]."""
    right: Bits
    """bool [N]."""


def on_images(
    content: bytes, model: Model, data: ImagesDataset, units: Sequence[Unit], progress: Callable[[float], None]
) -> Rightness:
    """Return in which images units fire, and which the model classifies rightly.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if images have no classes, or others than the model.
    """
    labels = data.sample_labels(model.metadata.labels)
    if labels is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The images lie in no class folders, so it is not known which the model gets right.",
            field="dataset_id",
        )
    output = class_output(model.metadata, model.outputs).name
    fires, right = [], []
    for outputs, indices, _ in _batches(content, model, data, units, [output], progress):
        fires.append(_firing(outputs, units, len(indices)))
        right.append(outputs[output].reshape(len(indices), -1).argmax(axis=1) == labels[indices])
    return Rightness(np.concatenate(fires, axis=1), np.concatenate(right))


def on_boxes(
    content: bytes, model: Model, data: DetectionDataset, units: Sequence[Unit], progress: Callable[[float], None]
) -> Rightness:
    """Return in which annotated boxes units fire, and which of these the detector finds.

    A box is found if a detection of its class has an IoU of 0.5 with it.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model's boxes cannot be read or its classes are others.
    """
    decoding, preprocessing = model.metadata.detection, model.metadata.preprocessing
    if decoding is None or preprocessing is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The model's metadata has no `detection`, so its boxes cannot be compared with those of a dataset.",
            field="dataset_id",
        )
    numbers = np.array(data.labels_for(model.metadata.labels), np.int64)
    names = list(
        dict.fromkeys(
            [*decoding.box_outputs, *decoding.score_outputs, *([decoding.classes] if decoding.classes else [])]
        )
    )
    height, width = preprocessing.size
    fires, right = [], []
    for outputs, indices, placements in _batches(content, model, data, units, names, progress):
        found = decode_to_images(outputs, decoding, (height, width), placements, clip=False)
        for row, index in enumerate(indices.tolist()):
            truth = data.truths[index]
            right.append(_found(truth, numbers, found[row]))
            fires.append(_firing_in_boxes(outputs, units, row, truth, preprocessing, placements[row]))
    return Rightness(np.concatenate(fires, axis=1), np.concatenate(right))


def _batches(
    content: bytes,
    model: Model,
    data: ImagesDataset | DetectionDataset,
    units: Sequence[Unit],
    outputs: Sequence[str],
    progress: Callable[[float], None],
) -> Iterator[tuple[dict[str, NDArray[np.generic]], IntArray, list[Placement]]]:
    """Yield layers and outputs of the model for images, a batch at a time."""
    preprocessing, name = checked_image_input(model.metadata, model.inputs, "dataset_id")
    wanted = list(dict.fromkeys([*(unit.layer for unit in units), *outputs]))
    part = cut(unpack_weights(load_model(content, max_bytes=len(content))), wanted)
    loaded = OnnxRuntimeEngine().load(part.SerializeToString(), threads=processor_count())
    size, fixed = batch_of(model.inputs, int(np.prod(preprocessing.size)) * preprocessing.channels)
    done = 0
    for batch in data.batches(preprocessing, size):
        given: Batch = {name: batch.inputs}
        found = loaded.run(filled(given, size) if fixed else given)
        yield {key: values[: len(batch.indices)] for key, values in found.items()}, batch.indices, batch.placements
        done += len(batch.indices)
        progress(done / len(data))


def _firing(outputs: dict[str, NDArray[np.generic]], units: Sequence[Unit], count: int) -> Bits:
    """Return in which samples units fire anywhere, bool [U, B]."""
    peaks = {
        layer: np.asarray(outputs[layer], np.float32).reshape(count, outputs[layer].shape[1], -1).max(axis=2)
        for layer in {unit.layer for unit in units}
    }
    return np.stack([peaks[unit.layer][:, unit.unit] > unit.threshold for unit in units])


def _firing_in_boxes(
    outputs: dict[str, NDArray[np.generic]],
    units: Sequence[Unit],
    row: int,
    truth: GroundTruth,
    preprocessing: Preprocessing,
    placement: Placement,
) -> Bits:
    """Return in which boxes of an image units fire, bool [U, boxes]."""
    frame = frame_of(placement, preprocessing)
    width, height = placement.image
    corners = truth.boxes / np.array([width, height, width, height]) * [*_GRID[::-1], *_GRID[::-1]]
    found = np.zeros((len(units), len(truth.boxes)), np.bool_)
    for layer in {unit.layer for unit in units}:
        rows = [place for place, unit in enumerate(units) if unit.layer == layer]
        numbers = [units[place].unit for place in rows]
        maps = torch.from_numpy(np.asarray(outputs[layer][row], np.float32)[numbers])
        maps = maps.reshape(len(numbers), *(maps.shape[1:] or (1, 1)))
        brought = Sampler(_GRID, (maps.shape[1], maps.shape[2]), frame)(maps).numpy().reshape(len(numbers), *_GRID)
        over = brought > np.array([units[place].threshold for place in rows], np.float32)[:, None, None]
        for box, (left, top, right, bottom) in enumerate(corners):
            across = slice(int(np.clip(left, 0, _GRID[1] - 1)), max(int(np.ceil(right)), int(left) + 1))
            down = slice(int(np.clip(top, 0, _GRID[0] - 1)), max(int(np.ceil(bottom)), int(top) + 1))
            found[rows, box] = over[:, down, across].any(axis=(1, 2))
    return found


def _found(truth: GroundTruth, numbers: IntArray, boxes: Boxes) -> Bits:
    """Return which annotated boxes have a detection of their class upon them, bool [boxes]."""
    if not len(truth.boxes) or not len(boxes.boxes):
        return np.zeros(len(truth.boxes), np.bool_)
    upon = iou_matrix(truth.boxes, boxes.boxes) >= _MATCHED
    same = numbers[truth.classes][:, None] == boxes.classes[None]
    return np.asarray((upon & same).any(axis=1))

"""Where units fire in a labelled dataset, and what the model predicts correctly there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.units import Unit
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.detection_annotations import GroundTruth
from faceter.datasets.images import ImagesDataset
from faceter.engines.onnxruntime import OnnxRuntimeEngine
from faceter.engines.padding import without_padding
from faceter.graphs.packing import unpack_weights
from faceter.graphs.subgraph import extract_subgraph
from faceter.graphs.working import load_working_graph
from faceter.host import processor_count
from faceter.vision.boxes import Detections, IntArray, iou_matrix
from faceter.vision.detection import decode_to_image_pixels
from faceter.vision.metadata import class_output
from faceter.vision.preprocess import Placement, as_dtype
from workers.explanation.probe.images import input_placement
from workers.explanation.upsampling import Upsampler
from workers.model_input import Batch, inference_batch_size, pad_batch, require_image_input

Bits = NDArray[np.bool_]

_MATCH_IOU = 0.5
_GRID = (112, 112)


@dataclass(frozen=True)
class UnitCorrectness:
    """Firing of units and correctness of predictions in N samples, or N annotated boxes."""

    fires: Bits
    """bool [U, N]."""
    correct: Bits
    """bool [N]."""


def image_correctness(
    content: bytes, model: Model, data: ImagesDataset, units: Sequence[Unit], progress: Callable[[float], None]
) -> UnitCorrectness:
    """Return in which images units fire, and which images the model classifies correctly.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the images have no classes, or other classes than the model.
    """
    labels = data.sample_labels(model.metadata.labels)
    if labels is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The images lie in no class folders, so it is not known which predictions are correct.",
            field="dataset_id",
        )
    output = class_output(model.metadata, model.outputs).name
    fires, correct = [], []
    for outputs, indices, _ in _batches(content, model, data, units, [output], progress):
        fires.append(_firing(outputs, units, len(indices)))
        correct.append(outputs[output].reshape(len(indices), -1).argmax(axis=1) == labels[indices])
    return UnitCorrectness(np.concatenate(fires, axis=1), np.concatenate(correct))


def box_correctness(
    content: bytes, model: Model, data: DetectionDataset, units: Sequence[Unit], progress: Callable[[float], None]
) -> UnitCorrectness:
    """Return in which annotated boxes units fire, and which boxes the detector finds.

    A box is found if a detection of its class has an IoU of 0.5 or more with it.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` if the model has no `detection` metadata, or other classes than the dataset.
    """
    decoding, preprocessing = model.metadata.detection, model.metadata.preprocessing
    if decoding is None or preprocessing is None:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The model's metadata has no `detection`, so its boxes cannot be compared with those of a dataset.",
            field="dataset_id",
        )
    numbers = np.array(data.labels_for(model.metadata.labels), np.int64)
    height, width = preprocessing.size
    fires, correct = [], []
    for outputs, indices, placements in _batches(content, model, data, units, decoding.output_names, progress):
        detections = decode_to_image_pixels(outputs, decoding, (height, width), placements, clip=False)
        for row, index in enumerate(indices.tolist()):
            truth = data.truths[index]
            correct.append(_is_detected(truth, numbers, detections[row]))
            fires.append(_firing_in_boxes(outputs, units, row, truth, preprocessing, placements[row]))
    return UnitCorrectness(np.concatenate(fires, axis=1), np.concatenate(correct))


def _batches(
    content: bytes,
    model: Model,
    data: ImagesDataset | DetectionDataset,
    units: Sequence[Unit],
    outputs: Sequence[str],
    progress: Callable[[float], None],
) -> Iterator[tuple[dict[str, NDArray[np.generic]], IntArray, list[Placement]]]:
    """Yield layers and outputs of the model batch by batch, with indices and placements of the images."""
    preprocessing, name = require_image_input(model.metadata, model.inputs, "dataset_id")
    tensors = list(dict.fromkeys([*(unit.layer for unit in units), *outputs]))
    subgraph = extract_subgraph(unpack_weights(load_working_graph(content, model.metadata).model), tensors)
    loaded = OnnxRuntimeEngine().load(subgraph.SerializeToString(), threads=processor_count())
    size, fixed = inference_batch_size(model.inputs, math.prod(preprocessing.shape))
    done = 0
    for batch in data.batches(preprocessing, size):
        inputs: Batch = {name: as_dtype(batch.inputs, model.inputs[0].dtype)}
        layers = loaded.run(pad_batch(inputs, size) if fixed else inputs)
        if fixed:
            layers = without_padding(layers, size, len(batch.indices))
        yield layers, batch.indices, batch.placements
        done += len(batch.indices)
        progress(done / len(data))


def _firing(outputs: dict[str, NDArray[np.generic]], units: Sequence[Unit], count: int) -> Bits:
    """Return whether units fire anywhere in the samples, bool [U, B]."""
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
    """Return whether units fire in the boxes of an image, bool [U, boxes]."""
    relative = input_placement(placement, preprocessing)
    width, height = placement.image
    corners = truth.boxes / np.array([width, height, width, height]) * [*_GRID[::-1], *_GRID[::-1]]
    fires = np.zeros((len(units), len(truth.boxes)), np.bool_)
    for layer in {unit.layer for unit in units}:
        rows = [place for place, unit in enumerate(units) if unit.layer == layer]
        numbers = [units[place].unit for place in rows]
        maps = torch.from_numpy(np.asarray(outputs[layer][row], np.float32)[numbers])
        maps = maps.reshape(len(numbers), *(maps.shape[1:] or (1, 1)))
        upsampled = (
            Upsampler(_GRID, (maps.shape[1], maps.shape[2]), relative)(maps).numpy().reshape(len(numbers), *_GRID)
        )
        masks = upsampled > np.array([units[place].threshold for place in rows], np.float32)[:, None, None]
        for box, (left, top, right, bottom) in enumerate(corners):
            across = slice(int(np.clip(left, 0, _GRID[1] - 1)), max(int(np.ceil(right)), int(left) + 1))
            down = slice(int(np.clip(top, 0, _GRID[0] - 1)), max(int(np.ceil(bottom)), int(top) + 1))
            fires[rows, box] = masks[:, down, across].any(axis=(1, 2))
    return fires


def _is_detected(truth: GroundTruth, numbers: IntArray, detections: Detections) -> Bits:
    """Return whether annotated boxes have a matching detection of their class, bool [boxes]."""
    if not len(truth.boxes) or not len(detections.boxes):
        return np.zeros(len(truth.boxes), np.bool_)
    matching = iou_matrix(truth.boxes, detections.boxes) >= _MATCH_IOU
    same = numbers[truth.classes][:, None] == detections.classes[None]
    return np.asarray((matching & same).any(axis=1))

"""Agreement of the quantized with the float model, and accuracy of both, measured by the engine that serves them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.models import ModelMetadata, Task
from faceter.contracts.quantizations import Agreement, Quality
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.kinds import InputDataset
from faceter.datasets.mean_average_precision import mean_average_precision
from faceter.engines.base import LoadedModel
from faceter.engines.padding import without_padding
from faceter.vision.boxes import Detections, agreement_f1
from faceter.vision.detection import decode_to_image_pixels, for_evaluation
from faceter.vision.metadata import class_output
from faceter.vision.preprocess import Placement
from workers.quantization.comparison_inputs import ComparisonBatch, ComparisonInputs
from workers.quantization.embedding_agreement import EmbeddingAgreement
from workers.quantization.generated_images import GeneratedImages

Outputs = dict[str, NDArray[np.generic]]

_IMAGE_BATCH_AXES = 4


@dataclass
class _OutputSums:
    """Sums over all samples.

    Args:
        same: Samples with the same first class.
        correct: Samples whose first class is the label, before and after quantization.
    """

    samples: int = 0
    values: int = 0
    absolute: float = 0.0
    squares: float = 0.0
    power: float = 0.0
    same: int = 0
    correct: list[int] = field(default_factory=lambda: [0, 0])
    labelled: int = 0


@dataclass
class _DetectedBoxes:
    """Boxes of both models, before and after quantization.

    Args:
        served: At the model's own score threshold.
        scored: Down to the low scores that mean average precision needs.
    """

    served: tuple[list[Detections], list[Detections]] = field(default_factory=lambda: ([], []))
    scored: tuple[list[Detections], list[Detections]] = field(default_factory=lambda: ([], []))


def measure_agreement(
    before: LoadedModel,
    after: LoadedModel,
    inputs: ComparisonInputs,
    metadata: ModelMetadata,
    evaluation: InputDataset | None = None,
    progress: Callable[[float], None] = lambda _: None,
    *,
    seconds: float = math.inf,
) -> tuple[Agreement, list[Quality]]:
    """Run two models on the same inputs, one batch in memory at a time.

    Args:
        before: The float model.
        after: The quantized model.
        evaluation: The evaluation dataset, to measure the accuracy of both.
        progress: Called with the fraction of inputs done.
        seconds: Time after which no further batch is run, except of evaluation data.

    Returns:
        The agreement of the two, and the accuracy of each if there is evaluation data.
    """
    output = class_output(metadata, before.outputs).name
    classifies = metadata.task.classifies
    detects = metadata.detection is not None and metadata.preprocessing is not None
    generates = metadata.task is Task.IMAGE_TRANSLATION and evaluation is not None
    sums, boxes, images = _OutputSums(), _DetectedBoxes(), GeneratedImages()
    embeddings = EmbeddingAgreement.of(metadata)
    began = time.perf_counter()
    for batch in inputs.batches:
        outputs = [_counted(model.run(batch.inputs), batch) for model in (before, after)]
        _add(sums, outputs[0][output], outputs[1][output], batch, classifies=classifies)
        if embeddings is not None:
            embeddings.add(batch.inputs, [each[output] for each in outputs], batch.count)
        if detects:
            _add_boxes(boxes, outputs, batch, metadata, scored=isinstance(evaluation, DetectionDataset))
        if generates and outputs[0][output].ndim == _IMAGE_BATCH_AXES:
            images.add([each[output] for each in outputs])
        progress(min(sums.samples / inputs.samples, 1.0))
        if inputs.source != "evaluation" and time.perf_counter() - began > seconds:
            break
    agreement = Agreement(
        source=inputs.source,
        samples=sums.samples,
        top1=sums.same / sums.samples if classifies else None,
        boxes=agreement_f1(*boxes.served) if detects else None,
        cosine=None if embeddings is None else embeddings.mean(),
        mean_absolute_error=sums.absolute / max(sums.values, 1),
        relative_error=float(np.sqrt(sums.squares / sums.power)) if sums.power > 0 else 0.0,
    )
    if images.features[0]:
        return agreement, images.quality()
    return agreement, _quality(sums, boxes, metadata, evaluation)


def _counted(outputs: Outputs, batch: ComparisonBatch) -> Outputs:
    return outputs if batch.size is None else without_padding(outputs, batch.size, batch.count)


def _add(
    sums: _OutputSums,
    original: NDArray[np.generic],
    quantized: NDArray[np.generic],
    batch: ComparisonBatch,
    *,
    classifies: bool,
) -> None:
    x, y = original.astype(np.float64), quantized.astype(np.float64)
    sums.samples += batch.count
    compared = np.isfinite(x)  # the float model's masks give −∞
    difference = y[compared] - x[compared]
    sums.values += difference.size
    sums.absolute += float(np.abs(difference).sum())
    sums.squares += float(np.square(difference).sum())
    sums.power += float(np.square(x[compared]).sum())
    if classifies:
        classes = [np.argmax(values.reshape(batch.count, -1), axis=1) for values in (x, y)]
        sums.same += int((classes[0] == classes[1]).sum())
        if batch.labels is not None:
            sums.labelled += batch.count
            for index, predicted in enumerate(classes):
                sums.correct[index] += int((predicted == batch.labels).sum())


def _add_boxes(
    boxes: _DetectedBoxes, outputs: Sequence[Outputs], batch: ComparisonBatch, metadata: ModelMetadata, *, scored: bool
) -> None:
    if metadata.detection is None or metadata.preprocessing is None:
        return
    height, width = metadata.preprocessing.size
    placements = batch.placements or [Placement((1.0, 1.0), (0.0, 0.0), (width, height))] * batch.count
    for index, each in enumerate(outputs):
        boxes.served[index].extend(_decoded(each, metadata.detection, (height, width), placements))
        if scored:
            low = for_evaluation(metadata.detection)
            boxes.scored[index].extend(_decoded(each, low, (height, width), placements))


def _decoded(
    outputs: Outputs, decoding: DetectionDecoding, size: tuple[int, int], placements: Sequence[Placement]
) -> list[Detections]:
    return decode_to_image_pixels(outputs, decoding, size, placements, clip=False)


def _quality(
    sums: _OutputSums, boxes: _DetectedBoxes, metadata: ModelMetadata, evaluation: InputDataset | None
) -> list[Quality]:
    if sums.labelled:
        before, after = (correct / sums.labelled for correct in sums.correct)
        return [Quality(metric="top1", before=before, after=after, samples=sums.labelled)]
    if not isinstance(evaluation, DetectionDataset) or not boxes.scored[0]:
        return []
    first, second = (mean_average_precision(detected, evaluation, metadata.labels) for detected in boxes.scored)
    return [
        Quality(metric="map_50", before=first.at_50, after=second.at_50, samples=sums.samples),
        Quality(metric="map_50_95", before=first.at_50_to_95, after=second.at_50_to_95, samples=sums.samples),
    ]

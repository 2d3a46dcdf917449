"""How far a quantized model's answers are from the original's, and from the truth, by the engine that serves them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.models import DetectionDecoding, ModelMetadata, Task
from faceter.contracts.quantizations import Agreement, Quality
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.kinds import InputDataset
from faceter.datasets.mean_average_precision import mean_average_precision
from faceter.engines.base import LoadedModel
from faceter.vision.boxes import Boxes, agreement_f1
from faceter.vision.detection import decode_to_images, for_evaluation
from faceter.vision.metadata import class_output
from faceter.vision.preprocess import Placement
from workers.evaluation.comparison import compare as compare_sets
from workers.quantization.data import Comparison, Sample

Outputs = dict[str, NDArray[np.generic]]

_NEIGHBOR, _GRID, _MOST_DRAWN, _RANK = 5, 16, 2000, 4


@dataclass
class _Counts:
    samples: int = 0
    values: int = 0
    absolute: float = 0.0
    squares: float = 0.0
    power: float = 0.0
    same: int = 0
    right: list[int] = field(default_factory=lambda: [0, 0])
    labelled: int = 0


@dataclass
class _Drawn:
    """Features of the images that two generators make: before and after."""

    features: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = field(default_factory=lambda: ([], []))

    def add(self, answers: Sequence[NDArray[np.generic]]) -> None:
        """Take in the images of one batch, [B, C, H, W] of each."""
        for kept, images in zip(self.features, answers, strict=True):
            if sum(map(len, kept)) < _MOST_DRAWN:
                kept.append(on_a_grid(images))

    def quality(self) -> list[Quality]:
        """Return density and coverage of the second one's images against the first one's; none of too few."""
        first, second = (np.concatenate(kept) for kept in self.features)
        if len(first) <= _NEIGHBOR:
            return []
        before, after = (compare_sets(first, other, [_NEIGHBOR]).values()[0] for other in (first, second))
        return [
            Quality(metric=metric, before=before[metric], after=after[metric], samples=len(first))
            for metric in ("density", "coverage")
        ]


def on_a_grid(images: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return the mean of each cell of a grid of 16 × 16 (fewer of smaller images), [B, C · rows · columns].

    Args:
        images: [B, C, H, W].
    """
    bands = [np.linspace(0, side, min(side, _GRID) + 1).astype(int)[:-1] for side in images.shape[2:]]
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float64), bands[0], axis=2), bands[1], axis=3)
    counts = [np.diff([*band, side]) for band, side in zip(bands, images.shape[2:], strict=True)]
    means: NDArray[np.float64] = sums / (counts[0][:, None] * counts[1])
    return means.reshape(len(images), -1).astype(np.float32)


@dataclass
class _Detections:
    """Boxes of both models, before and after: as answered, and down to low scores for mean average precision."""

    answered: tuple[list[Boxes], list[Boxes]] = field(default_factory=lambda: ([], []))
    graded: tuple[list[Boxes], list[Boxes]] = field(default_factory=lambda: ([], []))


def compare(
    before: LoadedModel,
    after: LoadedModel,
    comparison: Comparison,
    metadata: ModelMetadata,
    data: InputDataset | None = None,
    progress: Callable[[float], None] = lambda _: None,
) -> tuple[Agreement, list[Quality]]:
    """Run two models on the same inputs, one batch in memory at a time.

    Args:
        before: The original.
        after: The quantized model.
        comparison: The inputs.
        metadata: What the models are for.
        data: The evaluation dataset, to grade both on.
        progress: Called with the share of inputs done.

    Returns:
        The agreement of the two, and the quality of each where there is evaluation data.
    """
    output = class_output(metadata, before.outputs).name
    classifies = metadata.task.classifies
    counts, boxes, drawn = _Counts(), _Detections(), _Drawn()
    draws = metadata.task is Task.IMAGE_TRANSLATION and data is not None
    for sample in comparison.batches:
        answers = [_first(model.run(sample.inputs), sample.count) for model in (before, after)]
        _count(counts, answers[0][output], answers[1][output], sample, classifies=classifies)
        if metadata.detection is not None and metadata.preprocessing is not None:
            _collect(boxes, answers, sample, metadata, graded=isinstance(data, DetectionDataset))
        if draws and answers[0][output].ndim == _RANK:
            drawn.add([answer[output] for answer in answers])
        progress(min(counts.samples / comparison.samples, 1.0))
    detects = metadata.detection is not None and metadata.preprocessing is not None
    agreement = Agreement(
        source=comparison.source,
        samples=counts.samples,
        top1=counts.same / counts.samples if classifies else None,
        boxes=agreement_f1(*boxes.answered) if detects else None,
        mean_absolute_error=counts.absolute / max(counts.values, 1),
        relative_error=float(np.sqrt(counts.squares / counts.power)) if counts.power > 0 else 0.0,
    )
    if drawn.features[0]:
        return agreement, drawn.quality()
    return agreement, _quality(counts, boxes, metadata, data)


def _first(outputs: Outputs, count: int) -> Outputs:
    return {name: values[:count] if values.ndim else values for name, values in outputs.items()}


def _count(
    counts: _Counts, original: NDArray[np.generic], quantized: NDArray[np.generic], sample: Sample, *, classifies: bool
) -> None:
    x, y = original.astype(np.float64), quantized.astype(np.float64)
    counts.samples += sample.count
    counts.values += x.size
    counts.absolute += float(np.abs(y - x).sum())
    counts.squares += float(np.square(y - x).sum())
    counts.power += float(np.square(x).sum())
    if classifies:
        chosen = [np.argmax(values.reshape(sample.count, -1), axis=1) for values in (x, y)]
        counts.same += int((chosen[0] == chosen[1]).sum())
        if sample.labels is not None:
            counts.labelled += sample.count
            for index, answers in enumerate(chosen):
                counts.right[index] += int((answers == sample.labels).sum())


def _collect(
    boxes: _Detections, answers: Sequence[Outputs], sample: Sample, metadata: ModelMetadata, *, graded: bool
) -> None:
    if metadata.detection is None or metadata.preprocessing is None:
        return
    height, width = metadata.preprocessing.size
    placements = sample.placements or [Placement((1.0, 1.0), (0.0, 0.0), (width, height))] * sample.count
    for index, outputs in enumerate(answers):
        boxes.answered[index].extend(_decoded(outputs, metadata.detection, (height, width), placements))
        if graded:
            low = for_evaluation(metadata.detection)
            boxes.graded[index].extend(_decoded(outputs, low, (height, width), placements))


def _decoded(
    outputs: Outputs, decoding: DetectionDecoding, size: tuple[int, int], placements: Sequence[Placement]
) -> list[Boxes]:
    return decode_to_images(outputs, decoding, size, placements, clip=False)


def _quality(counts: _Counts, boxes: _Detections, metadata: ModelMetadata, data: InputDataset | None) -> list[Quality]:
    if counts.labelled:
        before, after = (right / counts.labelled for right in counts.right)
        return [Quality(metric="top1", before=before, after=after, samples=counts.labelled)]
    if not isinstance(data, DetectionDataset) or not boxes.graded[0]:
        return []
    first, second = (mean_average_precision(found, data, metadata.labels) for found in boxes.graded)
    return [
        Quality(metric="map_50", before=first.at_50, after=second.at_50, samples=counts.samples),
        Quality(metric="map_50_95", before=first.at_50_to_95, after=second.at_50_to_95, samples=counts.samples),
    ]

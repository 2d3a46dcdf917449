"""Evaluation of translations: distance to the target domain, and reconstruction after a cycle.

References:
    Naeem et al., ICML 2020, arXiv 2002.09797 (density, coverage); Heusel et al., NeurIPS 2017, arXiv 1706.08500 (FID).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.translation_methods import Direction
from faceter.contracts.translator_records import DirectionEvaluation
from faceter.datasets.samples import Batch
from faceter.vision.preprocess import preprocess
from workers.evaluation.comparison import compare
from workers.evaluation.frechet import frechet_distance, moments
from workers.translation.samples import Pixels, TranslateFunction

K = 5
"""k of the k-nearest-neighbour radius of density and coverage; the default of the metrics."""

MIN_IMAGES = K + 1
"""Minimum number of images per domain for density, coverage and FID."""

_LUMA = np.array([0.299, 0.587, 0.114])
_BATCH_SIZE = 16
_RANGE = 255.0

FeatureExtractor = Callable[[Pixels], NDArray[np.float32]]
"""Returns the features of images, float32 [N, D]."""


@dataclass(frozen=True)
class EvaluationSet:
    """Images to evaluate translations on, in the training size.

    Args:
        images: By domain, ``A`` and ``B``.
        held_out: Whether they are not training images.
        paired: Whether the images of both domains are pairs, in order.
        mean: Mean training image of each domain, float64 [3, H, W], 0 to 255.
    """

    images: Mapping[str, Pixels]
    held_out: bool
    paired: bool
    mean: Mapping[str, NDArray[np.float64]]


def evaluate(
    dataset: EvaluationSet,
    directions: Sequence[Direction],
    translate: TranslateFunction,
    extract_features: FeatureExtractor | None,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[Direction, DirectionEvaluation]:
    """Evaluate the translations of every direction.

    Args:
        dataset: The images.
        directions: Those of the translator.
        translate: The translator.
        extract_features: Density, coverage and FID are omitted without it, and if a domain has fewer than `MIN_IMAGES`
            images.
        progress: Called with the fraction done.
    """
    real_features: dict[str, NDArray[np.float32]] = {}
    if extract_features is not None and min(map(len, dataset.images.values())) >= MIN_IMAGES:
        real_features = {domain: extract_features(images) for domain, images in dataset.images.items()}
    evaluations = {}
    for number, direction in enumerate(directions):
        real, target = dataset.images[direction.source], dataset.images[direction.target]
        translated = _translate_in_batches(translate, direction, real)
        progress((number + 0.5) / len(directions))
        reconstructed = None
        if direction.back in directions:
            reconstructed = _translate_in_batches(translate, direction.back, translated)
        metrics: dict[str, float] = {}
        untranslated: dict[str, float] = {}
        if extract_features is not None and real_features:
            metrics = _metrics(extract_features(translated), real_features[direction.target])
            untranslated = _metrics(real_features[direction.source], real_features[direction.target])
        mean_image = np.broadcast_to(dataset.mean[direction.target], target.shape)
        evaluations[direction] = DirectionEvaluation(
            images=len(real),
            held_out=dataset.held_out,
            metrics=metrics,
            untranslated=untranslated,
            brightness={
                "source": brightness(real),
                "translated": brightness(translated),
                "target": brightness(target),
            },
            reconstruction_error=None if reconstructed is None else mean_absolute_error(real, reconstructed),
            pixel_error=mean_absolute_error(translated, target) if dataset.paired else None,
            mean_image_error=mean_absolute_error(mean_image, target) if dataset.paired else None,
        )
        progress((number + 1) / len(directions))
    return evaluations


def brightness(images: Pixels) -> float:
    """Return the mean brightness (Rec. 601 luma, 0 to 1) of images [N, 3, H, W]."""
    channels = images.mean(axis=(0, 2, 3), dtype=np.float64)
    return round(float(channels @ _LUMA) / _RANGE, 5)


def mean_absolute_error(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Return the mean absolute difference of two sets of images [N, 3, H, W], as a fraction of the range 255."""
    errors = [np.abs(np.subtract(a, b, dtype=np.float64)).mean() for a, b in zip(one, other, strict=True)]
    return round(float(np.mean(errors)) / _RANGE, 5)


class ImagesInMemory:
    """Images in memory as the input of a feature extractor.

    Args:
        images: uint8 [N, 3, H, W].
    """

    def __init__(self, images: Pixels) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def batches(
        self, preprocessing: Preprocessing, batch: int, *, indices: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Yield preprocessed images, ``batch`` at a time."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        for start in range(0, len(chosen), batch):
            selected = chosen[start : start + batch]
            inputs = [
                preprocess(Image.fromarray(self._images[index].transpose(1, 2, 0)), preprocessing)[0]
                for index in selected
            ]
            yield Batch(np.stack(inputs), selected, None)


def _translate_in_batches(translate: TranslateFunction, direction: Direction, images: Pixels) -> Pixels:
    batches = (images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE))
    return np.concatenate([translate(direction, batch) for batch in batches])


def _metrics(generated: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, float]:
    """Return density, coverage and FID of generated features against real ones, [N, D] each."""
    values = compare(real, generated, [K]).values()[0]
    distance = frechet_distance(moments(real), moments(generated))
    return {
        "density": round(values["density"], 5),
        "coverage": round(values["coverage"], 5),
        "fid": round(distance, 4),
    }

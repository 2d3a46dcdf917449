"""How good translations are: nearer to the target domain than images were, and back again.

References:
    Naeem et al., ICML 2020, arXiv 2002.09797 (density, coverage); Heusel et al., NeurIPS 2017, arXiv 1706.08500 (FID).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.models import Preprocessing
from faceter.contracts.translators import Direction, DirectionEvaluation
from faceter.datasets.samples import Batch
from faceter.vision.preprocess import preprocess
from workers.evaluation.comparison import compare
from workers.evaluation.frechet import frechet_distance, moments
from workers.translation.samples import Pixels, Translate

K = 5
"""Which neighbour's distance is the radius of a ball; that of the metrics by default."""

LEAST = K + 1
"""Images of each domain that density, coverage and FID take at least."""

_LUMA = np.array([0.299, 0.587, 0.114])
_AT_ONCE = 16
_RANGE = 255.0

Describe = Callable[[Pixels], NDArray[np.float32]]
"""Returns the features of images, float32 [N, D]."""


@dataclass(frozen=True)
class EvaluationSet:
    """Images to grade translations with, in the size of training.

    Args:
        images: Those of each domain, by ``A`` and ``B``.
        held_out: Whether none of them was trained on.
        paired: Whether the images of both domains belong together in order.
        mean: The mean of the images trained on, of each domain, float64 [3, H, W], 0 to 255.
    """

    images: Mapping[str, Pixels]
    held_out: bool
    paired: bool
    mean: Mapping[str, NDArray[np.float64]]


def evaluate(
    found: EvaluationSet,
    directions: Sequence[Direction],
    translate: Translate,
    describe: Describe | None,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[Direction, DirectionEvaluation]:
    """Grade the translations of every direction.

    Args:
        found: The images.
        directions: Those the translator has.
        translate: The translator.
        describe: Makes features of images; density, coverage and FID are left out without it, and where a domain has
            fewer than `LEAST` images.
        progress: Is told the share done.
    """
    known: dict[str, NDArray[np.float32]] = {}
    if describe is not None and min(map(len, found.images.values())) >= LEAST:
        known = {domain: describe(images) for domain, images in found.images.items()}
    graded = {}
    for number, direction in enumerate(directions):
        real, target = found.images[direction.source], found.images[direction.target]
        made = _in_parts(translate, direction, real)
        progress((number + 0.5) / len(directions))
        back = None
        if direction.back in directions:
            back = _in_parts(translate, direction.back, made)
        metrics: dict[str, float] = {}
        untranslated: dict[str, float] = {}
        if describe is not None and known:
            metrics = _metrics(describe(made), known[direction.target])
            untranslated = _metrics(known[direction.source], known[direction.target])
        wanted = found.mean[direction.target]
        graded[direction] = DirectionEvaluation(
            images=len(real),
            held_out=found.held_out,
            metrics=metrics,
            untranslated=untranslated,
            brightness={
                "source": brightness(real),
                "translated": brightness(made),
                "target": brightness(target),
            },
            reconstruction_error=None if back is None else difference(real, back),
            pixel_error=difference(made, target) if found.paired else None,
            mean_image_error=difference(np.broadcast_to(wanted, target.shape), target) if found.paired else None,
        )
        progress((number + 1) / len(directions))
    return graded


def brightness(images: Pixels) -> float:
    """Return the mean brightness (Rec. 601 luma, 0 to 1) of images [N, 3, H, W]."""
    channels = images.mean(axis=(0, 2, 3), dtype=np.float64)
    return round(float(channels @ _LUMA) / _RANGE, 5)


def difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Return the mean absolute difference of two sets of images [N, 3, H, W], in shares of the range."""
    parts = [np.abs(np.subtract(a, b, dtype=np.float64)).mean() for a, b in zip(one, other, strict=True)]
    return round(float(np.mean(parts)) / _RANGE, 5)


class ImagesInMemory:
    """Images that lie in memory, as the input of a model that describes them.

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
        """Yield images as a model's input, ``batch`` at a time."""
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        for start in range(0, len(chosen), batch):
            part = chosen[start : start + batch]
            ready = [
                preprocess(Image.fromarray(self._images[index].transpose(1, 2, 0)), preprocessing)[0] for index in part
            ]
            yield Batch(np.stack(ready), part, None)


def _in_parts(translate: Translate, direction: Direction, images: Pixels) -> Pixels:
    parts = (images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE))
    return np.concatenate([translate(direction, part) for part in parts])


def _metrics(generated: NDArray[np.float32], real: NDArray[np.float32]) -> dict[str, float]:
    """Return density, coverage and FID of images against those of the target domain, by their features [N, D]."""
    values = compare(real, generated, [K]).values()[0]
    distance = frechet_distance(moments(real), moments(generated))
    return {
        "density": round(values["density"], 5),
        "coverage": round(values["coverage"], 5),
        "fid": round(distance, 4),
    }

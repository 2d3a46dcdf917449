"""Reads the images to evaluate translations on, resized to the training size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.datasets.samples import evenly_spaced
from workers.translation.evaluation import EvaluationSet
from workers.translation.images import Domain, ResizedImages, TwoDomainDataset
from workers.translation.samples import Pixels

MAX_IMAGES = 500
"""Maximum number of images per domain."""

_DOMAINS: tuple[Domain, Domain] = ("A", "B")


def evaluation_set(
    source: TwoDomainDataset, trained_on: ResizedImages, size: int, *, held_out: bool, paired: bool
) -> EvaluationSet:
    """Return up to 500 images of each domain of a dataset, evenly spaced over it.

    Args:
        source: The dataset.
        trained_on: The training images.
        size: Side that images are resized to, pixels.
        held_out: Whether ``source`` is not the training dataset.
        paired: Whether images are pairs.
    """
    if paired:
        chosen = [source.pairs()[place] for place in evenly_spaced(len(source.pairs()), MAX_IMAGES)]
        indices: dict[Domain, list[int]] = {"A": [a for a, _ in chosen], "B": [b for _, b in chosen]}
    else:
        indices = {domain: evenly_spaced(source.count(domain), MAX_IMAGES) for domain in _DOMAINS}
    return EvaluationSet(
        images={domain: _images(source, domain, places, size) for domain, places in indices.items()},
        held_out=held_out,
        paired=paired,
        mean={domain: _mean(trained_on, domain, size) for domain in _DOMAINS},
    )


def _images(source: TwoDomainDataset, domain: Domain, indices: Sequence[int], size: int) -> Pixels:
    pixels = np.empty((len(indices), 3, size, size), np.uint8)
    for row, index in enumerate(indices):
        image = source.image(domain, index).resize((size, size), Image.Resampling.BICUBIC)
        pixels[row] = np.asarray(image).transpose(2, 0, 1)
    return pixels


def _mean(images: ResizedImages, domain: Domain, size: int) -> NDArray[np.float64]:
    """Return the mean image of a domain, [3, size, size]."""
    total: NDArray[np.float64] | None = None
    for index in range(images.count(domain)):
        values = images.pixels(domain, index).astype(np.float64)
        total = values if total is None else total + values
    assert total is not None
    mean = total / images.count(domain)
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC) for plane in mean
    ]
    return np.stack([np.asarray(plane, np.float64) for plane in planes])

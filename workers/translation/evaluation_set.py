"""The images that translations are graded with, brought to the size of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.datasets.samples import spread
from workers.translation.evaluation import EvaluationSet
from workers.translation.images import Images, ImageSource
from workers.translation.samples import Pixels

MOST = 500
"""Images of each domain at most."""

Domain = Literal["A", "B"]
_DOMAINS: tuple[Domain, Domain] = ("A", "B")


def evaluation_set(
    source: ImageSource, trained_on: Images, size: int, *, held_out: bool, paired: bool
) -> EvaluationSet:
    """Return up to 500 images of each domain of a dataset, spread over it.

    Args:
        source: The dataset.
        trained_on: The images of training.
        size: Sides they are brought to, pixels.
        held_out: Whether ``source`` is another dataset than that of training.
        paired: Whether images belong together.
    """
    if paired:
        chosen = [source.pairs()[place] for place in spread(len(source.pairs()), MOST)]
        indices: dict[Domain, list[int]] = {"A": [a for a, _ in chosen], "B": [b for _, b in chosen]}
    else:
        indices = {domain: spread(source.count(domain), MOST) for domain in _DOMAINS}
    return EvaluationSet(
        images={domain: _images(source, domain, places, size) for domain, places in indices.items()},
        held_out=held_out,
        paired=paired,
        mean={domain: _mean(trained_on, domain, size) for domain in _DOMAINS},
    )


def _images(source: ImageSource, domain: Domain, indices: Sequence[int], size: int) -> Pixels:
    made = np.empty((len(indices), 3, size, size), np.uint8)
    for row, index in enumerate(indices):
        image = source.image(domain, index).resize((size, size), Image.Resampling.BICUBIC)
        made[row] = np.asarray(image).transpose(2, 0, 1)
    return made


def _mean(images: Images, domain: Domain, size: int) -> NDArray[np.float64]:
    """Return the mean of a domain's images, [3, size, size]."""
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

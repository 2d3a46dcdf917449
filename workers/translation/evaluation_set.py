"""The pictures that translations are graded with, brought to the size of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.datasets.samples import spread
from workers.translation.evaluation import EvaluationSet
from workers.translation.pictures import Pictures, PictureSource
from workers.translation.samples import Pixels

MOST = 500
"""Pictures of each domain at most."""

Domain = Literal["A", "B"]
_DOMAINS: tuple[Domain, Domain] = ("A", "B")


def evaluation_set(
    source: PictureSource, trained_on: Pictures, size: int, *, held_out: bool, paired: bool
) -> EvaluationSet:
    """Return up to 500 pictures of each domain of a data set, spread over it.

    Args:
        source: The data set.
        trained_on: The pictures of training.
        size: Sides they are brought to, pixels.
        held_out: Whether ``source`` is another data set than that of training.
        paired: Whether pictures belong together.
    """
    if paired:
        chosen = [source.pairs()[place] for place in spread(len(source.pairs()), MOST)]
        indices: dict[Domain, list[int]] = {"A": [a for a, _ in chosen], "B": [b for _, b in chosen]}
    else:
        indices = {domain: spread(source.count(domain), MOST) for domain in _DOMAINS}
    return EvaluationSet(
        pictures={domain: _pictures(source, domain, places, size) for domain, places in indices.items()},
        held_out=held_out,
        paired=paired,
        mean={domain: _mean(trained_on, domain, size) for domain in _DOMAINS},
    )


def _pictures(source: PictureSource, domain: Domain, indices: Sequence[int], size: int) -> Pixels:
    made = np.empty((len(indices), 3, size, size), np.uint8)
    for row, index in enumerate(indices):
        image = source.image(domain, index).resize((size, size), Image.Resampling.BICUBIC)
        made[row] = np.asarray(image).transpose(2, 0, 1)
    return made


def _mean(pictures: Pictures, domain: Domain, size: int) -> NDArray[np.float64]:
    """Return the mean of a domain's pictures, [3, size, size]."""
    total: NDArray[np.float64] | None = None
    for index in range(pictures.count(domain)):
        values = pictures.pixels(domain, index).astype(np.float64)
        total = values if total is None else total + values
    assert total is not None
    mean = total / pictures.count(domain)
    planes = [
        Image.fromarray(plane.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC) for plane in mean
    ]
    return np.stack([np.asarray(plane, np.float64) for plane in planes])

"""Inception score: how sure a classifier is of each sample, and how many classes there are among all.

References:
    Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", NeurIPS 2016,
        arXiv 1606.03498, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats


@dataclass(frozen=True)
class InceptionScore:
    """The score over parts of a set.

    Args:
        mean: Over the parts; from 1 to the number of classes.
        deviation: Between them, with N; 0 for a single one.
        splits: How many.
    """

    mean: float
    deviation: float
    splits: int


def inception_score(probabilities: Floats, rng: np.random.Generator, *, splits: int = 10) -> InceptionScore:
    """Return exp(E KL(p(y|x) ‖ p(y))) over random parts of equal size, to one sample.

    Args:
        probabilities: p(y|x) of each sample, [N, K].
        rng: Puts samples into parts.
        splits: How many parts; no more than there are samples.
    """
    splits = min(splits, len(probabilities))
    found = [score_of(probabilities[part]) for part in np.array_split(rng.permutation(len(probabilities)), splits)]
    return InceptionScore(float(np.mean(found)), float(np.std(found)), splits)


def score_of(probabilities: Floats) -> float:
    """Return the score of a set as a whole; 0 · log 0 is 0.

    Args:
        probabilities: [N, K].
    """
    p = np.asarray(probabilities, np.float64)
    marginal = p.mean(0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.exp((p * np.log(ratio)).sum(1).mean()))

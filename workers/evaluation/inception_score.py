"""Inception score: how confident a classifier is of each sample, and how many classes it predicts over all.

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
    """The score over splits of a set.

    Args:
        mean: Over the splits; from 1 to the number of classes.
        deviation: Standard deviation over the splits, with N; 0 for a single one.
        splits: Number of splits.
    """

    mean: float
    deviation: float
    splits: int


def inception_score(probabilities: Floats, rng: np.random.Generator, *, splits: int = 10) -> InceptionScore:
    """Return exp(E KL(p(y|x) ‖ p(y))) over random splits whose sizes differ by at most one.

    Args:
        probabilities: p(y|x) of each sample, [N, K].
        rng: Draws the splits.
        splits: Number of splits; at most the number of samples.
    """
    splits = min(splits, len(probabilities))
    scores = [split_score(probabilities[part]) for part in np.array_split(rng.permutation(len(probabilities)), splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), splits)


def split_score(probabilities: Floats) -> float:
    """Return the score of one split; 0 · log 0 is 0.

    Args:
        probabilities: [N, K].
    """
    p = np.asarray(probabilities, np.float64)
    marginal = p.mean(0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.exp((p * np.log(ratio)).sum(1).mean()))

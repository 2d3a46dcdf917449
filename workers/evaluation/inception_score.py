"""Inception score: how confident a classifier is of each sample, and how many classes it predicts over all.

References:
    Salimans, Goodfellow, Zaremba, Cheung, Radford, Chen, "Improved Techniques for Training GANs", NeurIPS 2016,
        arXiv 1606.03498, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.evaluation.points import Floats

USUAL_SPLITS = 10
_LEAST_SAMPLES = 500
_LEAST_SAMPLES_PER_CLASS = 4


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


def inception_score(probabilities: Floats, rng: np.random.Generator, *, splits: int | None = None) -> InceptionScore:
    """Return exp(E KL(p(y|x) ‖ p(y))) over random splits whose sizes differ by at most one.

    Args:
        probabilities: p(y|x) of each sample, [N, K].
        rng: Draws the splits.
        splits: Number of splits, at most the number of samples; by default that of `split_count`.
    """
    splits = split_count(*probabilities.shape) if splits is None else min(splits, len(probabilities))
    scores = [split_score(probabilities[part]) for part in np.array_split(rng.permutation(len(probabilities)), splits)]
    return InceptionScore(float(np.mean(scores)), float(np.std(scores)), splits)


def split_count(samples: int, classes: int) -> int:
    """Return ten, as is usual, or as many splits as have 500 samples each, and four for each class; at least one.

    A split estimates p(y) from its own samples, which makes its score too low: see `shortfall`.

    Args:
        samples: Number of samples, N.
        classes: Number of classes, K.
    """
    return max(1, min(USUAL_SPLITS, samples // least_samples(classes)))


def least_samples(classes: int) -> int:
    """Return the fewest samples of a split that `split_count` allows where there is more than one."""
    return max(_LEAST_SAMPLES, _LEAST_SAMPLES_PER_CLASS * classes)


def shortfall(samples: int, classes: int) -> float:
    """Return about how much too low the score is at most, as a fraction: 1 − exp(−(K − 1) / 2n).

    The entropy of p(y), estimated from n samples of K classes, is too low by (K − 1) / 2n in the first order if every
    answer is certain, which is the worst case.

    Args:
        samples: Samples of a split, n.
        classes: Number of classes, K.
    """
    return float(-np.expm1(-(classes - 1) / (2 * samples)))


def split_score(probabilities: Floats) -> float:
    """Return the score of one split; 0 · log 0 is 0.

    Args:
        probabilities: [N, K].
    """
    p = np.asarray(probabilities, np.float64)
    marginal = p.mean(0)
    ratio = np.divide(p, marginal, out=np.ones_like(p), where=p > 0)
    return float(np.exp((p * np.log(ratio)).sum(1).mean()))

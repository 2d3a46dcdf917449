"""ZAQ's channel relation maps and output discrepancy, by loops over samples and channels."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def relation_map(features: Array) -> Array:
    """Return the cosine of the angle between every two channels of every sample, [N, C, C], for [N, C, …]."""
    samples, channels = features.shape[:2]
    maps = np.zeros((samples, channels, channels))
    for n in range(samples):
        for i in range(channels):
            for j in range(channels):
                a, b = features[n, i].ravel(), features[n, j].ravel()
                lengths = math.sqrt(sum(v * v for v in a)) * math.sqrt(sum(v * v for v in b))
                maps[n, i, j] = sum(p * q for p, q in zip(a, b, strict=True)) / lengths if lengths else 0.0
    return maps


def map_difference(teacher: Array, student: Array) -> float:
    """Return the mean |difference| of two relation maps over samples and pairs of channels."""
    first, second = relation_map(teacher), relation_map(student)
    total, count = 0.0, 0
    for a, b in zip(first.ravel(), second.ravel(), strict=True):
        total += abs(float(a) - float(b))
        count += 1
    return total / count


def output_discrepancy(teacher: Sequence[Array], student: Sequence[Array]) -> float:
    """Return the mean over samples of the mean |difference| over all output nodes of all heads."""
    samples = len(teacher[0])
    means = []
    for n in range(samples):
        distances = [
            abs(float(p) - float(q))
            for a, b in zip(teacher, student, strict=True)
            for p, q in zip(a[n].flat, b[n].flat, strict=True)
        ]
        means.append(sum(distances) / len(distances))
    return sum(means) / samples

"""Mixed precision by brute force over all bit assignments, and divergences summed input by input."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]


def all_assignments(
    costs: Mapping[str, Mapping[int, int]], divergences: Mapping[str, Mapping[int, float]]
) -> list[tuple[int, float]]:
    """Return bytes and Σ Ω of every assignment of bits to weights."""
    return [
        (
            sum(costs[name][k] for name, k in zip(costs, bits, strict=True)),
            sum(divergences[name][k] for name, k in zip(costs, bits, strict=True)),
        )
        for bits in itertools.product(*(each for each in costs.values()))
    ]


def undominated_pairs(pairs: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return the Pareto frontier of (size, Ω) pairs, smallest first, without duplicates."""
    different = set(pairs)
    return sorted(
        pair for pair in different if not any(a <= pair[0] and b <= pair[1] and (a, b) != pair for a, b in different)
    )


def mean_kl(logits: Array, others: Array) -> float:
    """Return the mean over inputs of KL(softmax of one ‖ softmax of the other), [N, K] each."""
    total = 0.0
    for one, other in zip(logits.tolist(), others.tolist(), strict=True):
        p = [math.exp(x) / sum(math.exp(y) for y in one) for x in one]
        q = [math.exp(x) / sum(math.exp(y) for y in other) for x in other]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return float(total / len(logits))


def relative_squared_error(outputs: Sequence[Array], others: Sequence[Array]) -> float:
    """Return the mean over outputs of ‖other − output‖² / ‖output‖²."""
    ratios: list[float] = []
    for one, other in zip(outputs, others, strict=True):
        error = sum((b - a) ** 2 for a, b in zip(one.reshape(-1).tolist(), other.reshape(-1).tolist(), strict=True))
        ratios.append(float(error / sum(a * a for a in one.reshape(-1).tolist())))
    return sum(ratios) / len(ratios)


def isotonic_error(values: Sequence[float], levels: Sequence[float]) -> float:
    """Return the least squared distance of ``values`` from any non-decreasing sequence of ``levels``."""
    return min(
        sum((a - b) ** 2 for a, b in zip(values, tried, strict=True))
        for tried in itertools.combinations_with_replacement(sorted(levels), len(values))
    )

"""The Pareto frontier of bit allocations: those that no other beats in both size and sensitivity.

It is found by dynamic programming, one weight after another, as in ZeroQ: of all allocations to the weights so far,
only the undominated ones are kept. A dominated one could not become part of an undominated allocation later, because
later weights only add to both sums.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.quantizations import TradeOffPoint
from faceter.graphs.packing import packed_bytes

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_POINTS = 16384


@dataclass(frozen=True, eq=False)
class ParetoFrontier(Sequence[TradeOffPoint]):
    """Undominated bit allocations, smallest first; each is larger and less sensitive than the one before.

    Args:
        names: The weights, [L].
        bits: Bits of each weight in each allocation, [P, L].
        weight_bytes: Bytes of all weights in each allocation, [P], increasing.
        sensitivity: Σ Ω of each allocation, [P], decreasing.
        slack: Bytes by which an allocation may be larger than the smallest one of no more sensitivity; 0 if the
            frontier is exact.
        predict: Agreement predicted from Σ Ω; None if there is no prediction.
    """

    names: tuple[str, ...]
    bits: NDArray[np.int8]
    weight_bytes: Integers
    sensitivity: Floats
    slack: int = 0
    predict: Callable[[float], float] | None = None

    def __len__(self) -> int:
        return len(self.weight_bytes)

    @overload
    def __getitem__(self, index: int) -> TradeOffPoint: ...

    @overload
    def __getitem__(self, index: slice) -> list[TradeOffPoint]: ...

    def __getitem__(self, index: int | slice) -> TradeOffPoint | list[TradeOffPoint]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        sensitivity = float(self.sensitivity[index])
        return TradeOffPoint(
            weight_bytes=int(self.weight_bytes[index]),
            sensitivity=sensitivity,
            bits=dict(zip(self.names, self.bits[index].tolist(), strict=True)),
            predicted=None if self.predict is None else self.predict(sensitivity),
        )


def pareto_frontier(
    costs: Mapping[str, Mapping[int, int]],
    divergences: Mapping[str, Mapping[int, float]],
    *,
    max_points: int = MAX_POINTS,
) -> ParetoFrontier:
    """Return the frontier of (Σ bytes, Σ Ω) over all assignments of bits to weights.

    It is exact while the bytes of the smallest and the largest choice differ by at most ``max_points``, or no more
    than ``max_points`` partial choices are undominated. Beyond that, bytes are put in ``max_points`` buckets of equal
    width w, and of the choices in a bucket the least sensitive stays (and the smallest of all): for every assignment
    there is then a point of no more Ω and at most L (w − 1) bytes more, for L weights. With 50 weights that is at most
    0.3 % of the difference next_index the smallest and the largest choice. ``slack`` says how much it came to.

    Args:
        costs: Bytes of each weight at each number of bits.
        divergences: Ω of each weight at each number of bits.
        max_points: Partial allocations to keep, at least 2; time and memory are proportional to it times L.

    Raises:
        ValueError: If there is no weight, or a weight has no bits.
    """
    if not costs or not all(costs.values()):
        raise ValueError("every weight needs bits to choose from, and there must be a weight")
    spread = sum(max(each.values()) - min(each.values()) for each in costs.values())
    width = -(-spread // max_points) if spread > max_points else 1
    total, omega = np.zeros(1, np.int64), np.zeros(1, np.float64)
    steps: list[tuple[Integers, NDArray[np.int8]]] = []
    slack = 0
    for name, each in costs.items():
        choices = np.array(sorted(each), np.int8)
        cost = np.array([each[int(k)] for k in choices], np.int64)
        divergence = np.array([divergences[name][int(k)] for k in choices], np.float64)
        sums, omegas = (total[:, None] + cost).reshape(-1), (omega[:, None] + divergence).reshape(-1)
        kept = undominated(sums, omegas)
        if len(kept) > max_points:
            kept = kept[_bucketed(sums[kept], width)]
            slack += width - 1
        total, omega = sums[kept], omegas[kept]
        steps.append((kept // len(choices), choices[kept % len(choices)]))
    return ParetoFrontier(tuple(costs), _backtrack(steps), total, omega, slack)


def packed_frontier(
    shapes: Mapping[str, tuple[int, ...]],
    divergences: Mapping[str, Mapping[int, float]],
    *,
    predict: Callable[[float], float] | None = None,
    max_points: int = MAX_POINTS,
) -> ParetoFrontier:
    """Return the frontier of the bytes that weights take in a packed file, and Σ Ω.

    The bytes are those of `faceter.graphs.packing.packed_bytes`. The few numbers that unpack each width, which
    depend on all weights together (some 200 bytes at most), are added at the end.

    Args:
        shapes: Shape of each weight.
        divergences: Ω of each weight at each number of bits.
        predict: Agreement predicted from Σ Ω; see ``Sensitivities.predict``.
        max_points: See :func:`pareto_frontier`.
    """
    alone = {name: packed_bytes({name: shape}, {name: 8}) for name, shape in shapes.items()}
    costs = {
        name: {k: _code_bytes(alone[name], len(shapes[name]), k) for k in by_bits}
        for name, by_bits in divergences.items()
    }
    estimated = pareto_frontier(costs, divergences, max_points=max_points)
    exact = np.array(
        [packed_bytes(shapes, dict(zip(estimated.names, row, strict=True))) for row in estimated.bits.tolist()],
        np.int64,
    )
    kept = undominated(exact, estimated.sensitivity)
    return ParetoFrontier(
        names=estimated.names,
        bits=estimated.bits[kept],
        weight_bytes=exact[kept],
        sensitivity=estimated.sensitivity[kept],
        slack=estimated.slack,
        predict=predict,
    )


def undominated(sums: Integers, omegas: Floats) -> Integers:
    """Return the indices of the undominated pairs, smallest sum first; of equal pairs the first.

    Args:
        sums: Bytes, [N].
        omegas: Σ Ω, [N].
    """
    order = np.lexsort((omegas, sums))
    least = np.minimum.accumulate(omegas[order])
    better = np.ones(len(order), np.bool_)
    better[1:] = omegas[order][1:] < least[:-1]
    return order[better].astype(np.int64)


def _bucketed(sums: Integers, width: int) -> NDArray[np.bool_]:
    """Mark the last of the increasing ``sums`` in each bucket, which is the least sensitive, and the very first."""
    bucket = (sums - sums[0]) // width
    kept = np.ones(len(sums), np.bool_)
    kept[:-1] = bucket[1:] != bucket[:-1]
    kept[0] = True
    return kept


def _backtrack(steps: Sequence[tuple[Integers, NDArray[np.int8]]]) -> NDArray[np.int8]:
    """Return the bits of every weight in every allocation, [P, L], from each step's parents and own bits."""
    at = np.arange(len(steps[-1][0]))
    bits = np.empty((len(at), len(steps)), np.int8)
    for index in reversed(range(len(steps))):
        parents, own = steps[index]
        bits[:, index] = own[at]
        at = parents[at]
    return bits


def _code_bytes(codes: int, axes: int, bits: int) -> int:
    """Return the bytes of one weight of ``codes`` codes: its codes, and below 8 bits its shape and size."""
    return codes if bits == 8 or not codes else -(-codes * bits // 8) + 8 * axes + 8

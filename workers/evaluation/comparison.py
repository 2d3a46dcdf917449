"""All distances between and within two sets of features, for every metric of nearest neighbours.

Memory: a float32 copy of both sets (float64 where float32 is not precise enough), a few numbers for each sample, and a
block of distances; nothing grows with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workers.evaluation import probabilistic
from workers.evaluation.authenticity import authenticity
from workers.evaluation.clipped import clipped_balls_within, clipped_coverage, clipped_density
from workers.evaluation.cross_distances import (
    BlockwiseReduction,
    CrossDistances,
    Radii,
    cross_distances,
    cross_distances_of_strips,
    real_strips,
)
from workers.evaluation.density_coverage import coverage, density, precision, recall
from workers.evaluation.neighbors import Neighbors, NeighborSearch, block_pairs, nearest, scaled_points
from workers.evaluation.points import Points, Rows
from workers.evaluation.work_beside import WorkBeside
from workers.jobs.division import UNDIVIDED, Division, Shard, plan_shards
from workers.jobs.journal import Journal, State
from workers.jobs.stages import SILENT, Stage

_SPARE_NEIGHBORS = 1
_WITHIN = 0.5
"""Fraction of the time that distances within the sets take."""
_SETS = "real", "generated"


@dataclass(frozen=True)
class SetComparison:
    """Nearest neighbours and ball counts of two sets.

    Args:
        ks: The neighbours whose distances are the radii of balls, [K].
        scale: All distances are divided by it.
        real: Nearest neighbours within the real samples.
        generated: Nearest neighbours within the generated samples.
        cross: Between real and generated samples.
    """

    ks: tuple[int, ...]
    scale: float
    real: Neighbors
    generated: Neighbors
    cross: CrossDistances

    def values(self) -> list[dict[str, float]]:
        """Return every metric by name, for each k."""
        ks = np.array(self.ks)
        prdc = {
            "density": density(self.cross, ks),
            "coverage": coverage(self.cross),
            "precision": precision(self.cross),
            "recall": recall(self.cross),
        }
        return [
            {
                **{name: float(value[index]) for name, value in prdc.items()},
                "clipped_density": clipped_density(
                    self.cross.clipped_balls_per_generated[:, index], clipped_balls_within(self.real, k), k
                ),
                "clipped_coverage": clipped_coverage(
                    self.cross.generated_per_real_ball[:, index], len(self.generated.distances), k
                ),
                "p_precision": probabilistic.probabilistic_precision(self.cross),
                "p_recall": probabilistic.probabilistic_recall(self.cross),
                "authenticity": authenticity(self.cross.nearest_real, self.real),
            }
            for index, k in enumerate(self.ks)
        ]


def compare(
    real: Rows,
    generated: Rows,
    ks: Sequence[int],
    progress: Stage = SILENT,
    journal: Journal | None = None,
    division: Division = UNDIVIDED,
    beside: Sequence[WorkBeside] = (),
) -> SetComparison:
    """Compare two sets by all distances between and within them.

    Args:
        real: Features of the real samples, [N, D], finite; may be memory-mapped.
        generated: Those of the generated samples, [M, D].
        ks: The neighbours whose distances are the radii; each at least 1 and below N and M, which are above 4.
        progress: Called with the fraction done.
        journal: Stores intermediate states; resuming from one gives the same result.
        division: How the distances are divided; any division gives the same result.
        beside: Further work for the shards, if there are any.
    """
    x, y = scaled_points(real, generated)
    neighbors = max(*ks, probabilistic.K) + _SPARE_NEIGHBORS
    within_real, within_generated = _within(x, y, neighbors, progress.part(0.0, _WITHIN), journal, division, beside)
    columns = np.array(ks) - 1
    radii = Radii(
        real=within_real.distances[:, columns],
        generated=within_generated.distances[:, columns],
        real_support=probabilistic.support_radius(within_real.distances),
        generated_support=probabilistic.support_radius(within_generated.distances),
    )
    cross = _between(x, y, radii, progress.part(_WITHIN, 1.0), journal, division)
    return SetComparison(tuple(ks), x.scale, within_real, within_generated, cross)


def _within(
    x: Points,
    y: Points,
    neighbors: int,
    progress: Stage,
    journal: Journal | None,
    division: Division,
    beside: Sequence[WorkBeside],
) -> list[Neighbors]:
    """Return the nearest neighbours within each of the sets."""
    kept = division.kept("neighbors")
    if kept is not None:
        return [Neighbors(kept[f"distances_{name}"], kept[f"indices_{name}"]) for name in _SETS]
    sets = dict(zip(_SETS, (x, y), strict=True))
    ks = {name: min(neighbors, len(points) - 1) for name, points in sets.items()}

    def plan(size: float) -> list[Shard]:
        costs = {name: [_pairs(*pair) for pair in block_pairs(points, points)] for name, points in sets.items()}
        within = [shard for name in _SETS for shard in plan_shards(name, costs[name], size)]
        return [*within, *(shard for work in beside for shard in work.plan(size))]

    def compute(shard: Shard, progress: Stage) -> State:
        for work in beside:
            if work.stage == shard.stage:
                return work.compute(shard, progress)
        points = sets[shard.stage]
        search = NeighborSearch(points, points, ks[shard.stage])
        pairs = shard.of(block_pairs(points, points))
        for done, (rows, columns) in enumerate(pairs, 1):
            search.compare(rows, columns)
            progress(done / len(pairs))
        return search.state(0)

    parts = division.parts("neighbors", plan, compute, progress)
    if parts is None:
        halves = progress.part(0.0, 0.5), progress.part(0.5, 1.0)
        return [
            nearest(points, points, ks[name], half, journal, name)
            for (name, points), half in zip(sets.items(), halves, strict=True)
        ]
    searches = {name: NeighborSearch(points, points, ks[name]) for name, points in sets.items()}
    for part in parts:
        if part.shard.stage in searches:
            searches[part.shard.stage].merge(part.load())
    found = {name: search.result() for name, search in searches.items()}
    distances = {f"distances_{name}": one.distances for name, one in found.items()}
    division.keep("neighbors", {**distances, **{f"indices_{name}": one.indices for name, one in found.items()}})
    return list(found.values())


def _between(
    x: Points, y: Points, radii: Radii, progress: Stage, journal: Journal | None, division: Division
) -> CrossDistances:
    """Return what the distances between the sets give."""
    strips = real_strips(x)

    def plan(size: float) -> list[Shard]:
        return plan_shards("between", [_pairs(strip, slice(0, len(y))) for strip in strips], size)

    def compute(shard: Shard, progress: Stage) -> State:
        return cross_distances_of_strips(x, y, radii, shard.of(strips), progress)

    parts = division.parts("between", plan, compute, progress)
    if parts is None:
        return cross_distances(x, y, radii, progress, journal)
    reduction = BlockwiseReduction(x, y, radii)
    for part in parts:
        reduction.merge(part.load())
    return reduction.result()


def _pairs(rows: slice, columns: slice) -> float:
    return float((rows.stop - rows.start) * (columns.stop - columns.start))

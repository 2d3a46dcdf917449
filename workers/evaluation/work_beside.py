"""Metrics without nearest neighbours as shards beside those of the neighbours: KID by subsets, FID as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.evaluation.frechet import frechet_distance, moments
from workers.evaluation.kernel_distance import SIZE, SUBSETS, draw_subsets, subset_distances
from workers.evaluation.points import Rows
from workers.jobs.division import Shard, plan_shards
from workers.jobs.journal import State
from workers.jobs.stages import Stage

KID: Final = "kid"
FID: Final = "fid"
_FLOAT64_COST: Final = 2.0
"""Cost of a pair in float64, in pairs in float32."""
_EIGENVALUES_COST: Final = 20
"""Cost of the eigenvalues of a covariance of D features, in products of D by D."""


@dataclass(frozen=True)
class WorkBeside:
    """Work that shards of a round do beside its own.

    Args:
        stage: Its name.
        costs: Cost of each unit, in pairs of samples.
        compute: Computes a shard of it.
    """

    stage: str
    costs: Sequence[float]
    compute: Callable[[Shard, Stage], State]

    def plan(self, size: float) -> list[Shard]:
        """Return the shards for a size of shards."""
        return plan_shards(self.stage, self.costs, size)


def kid_beside(real: Rows, generated: Rows, rng: Callable[[], np.random.Generator]) -> WorkBeside:
    """Return the work of KID.

    Args:
        real: [N, D].
        generated: [M, D].
        rng: Returns the generator that draws the subsets, from its start.
    """
    pairs = 3 * min(SIZE, len(real), len(generated)) ** 2

    def compute(shard: Shard, progress: Stage) -> State:
        subsets = shard.of(draw_subsets(len(real), len(generated), rng()))
        return {"distances": subset_distances(real, generated, subsets, progress)}

    return WorkBeside(KID, [_FLOAT64_COST * pairs] * SUBSETS, compute)


def fid_beside(real: Rows, generated: Rows) -> WorkBeside:
    """Return the work of FID.

    Args:
        real: [N, D].
        generated: [M, D].
    """
    width = real.shape[1]
    cost = _FLOAT64_COST * ((len(real) + len(generated)) * width + _EIGENVALUES_COST * width**2)

    def compute(shard: Shard, progress: Stage) -> State:
        progress(0.0)
        return {"distance": np.array(frechet_distance(moments(real), moments(generated)))}

    return WorkBeside(FID, [cost], compute)

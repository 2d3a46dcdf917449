"""All distances between and within two sets of features, for every metric of nearest neighbours.

Memory: a float32 copy of both sets (float64 where float32 is not precise enough), a few numbers for each sample, and a
block of distances; nothing grows with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from faceter.datasets.samples import ProgressFunction
from workers.evaluation import probabilistic
from workers.evaluation.authenticity import authenticity
from workers.evaluation.clipped import clipped_balls_within, clipped_coverage, clipped_density
from workers.evaluation.cross_distances import CrossDistances, Radii, cross_distances
from workers.evaluation.density_coverage import coverage, density, precision, recall
from workers.evaluation.neighbors import Neighbors, nearest, scaled_points
from workers.evaluation.points import Rows
from workers.jobs.journal import Journal

_SPARE_NEIGHBORS = 1
_PROGRESS_WEIGHTS = 0.25, 0.25, 0.5


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
    progress: ProgressFunction = lambda _: None,
    journal: Journal | None = None,
) -> SetComparison:
    """Compare two sets by all distances between and within them.

    Args:
        real: Features of the real samples, [N, D], finite; may be memory-mapped.
        generated: Those of the generated samples, [M, D].
        ks: The neighbours whose distances are the radii; each at least 1 and below N and M, which are above 4.
        progress: Called with the fraction done.
        journal: Stores intermediate states; resuming from one gives the same result.
    """
    x, y = scaled_points(real, generated)
    neighbors = max(*ks, probabilistic.K) + _SPARE_NEIGHBORS
    first, second, third = _PROGRESS_WEIGHTS
    within_real = nearest(x, x, min(neighbors, len(x) - 1), lambda done: progress(first * done), journal, "real")
    within_generated = nearest(
        y, y, min(neighbors, len(y) - 1), lambda done: progress(first + second * done), journal, "generated"
    )
    columns = np.array(ks) - 1
    radii = Radii(
        real=within_real.distances[:, columns],
        generated=within_generated.distances[:, columns],
        real_support=probabilistic.support_radius(within_real.distances),
        generated_support=probabilistic.support_radius(within_generated.distances),
    )
    cross = cross_distances(x, y, radii, lambda done: progress(first + second + third * done), journal)
    return SetComparison(tuple(ks), x.scale, within_real, within_generated, cross)

"""Two sets of features compared once, for every metric that is made of distances.

Memory: a float32 copy of both sets (float64 where float32 cannot tell samples apart), a few numbers for each sample,
and a block of distances; nothing grows with the number of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workers.evaluation import probabilistic
from workers.evaluation.authenticity import authenticity
from workers.evaluation.clipped import balls_of_others, clipped_coverage, clipped_density
from workers.evaluation.crossing import Crossing, Reach, cross
from workers.evaluation.density_coverage import coverage, density, precision, recall
from workers.evaluation.neighbors import Neighbors, Progress, in_frame, nearest
from workers.evaluation.points import Rows
from workers.jobs.journal import Journal

_SPARE_NEIGHBORS = 1
_SHARES = 0.25, 0.25, 0.5


@dataclass(frozen=True)
class Comparison:
    """What is known of two sets after their distances have been looked at.

    Args:
        ks: The neighbours whose distances are radii, [K].
        scale: What distances are divided by, here and in all parts.
        real: The nearest others within the real samples.
        generated: Within the generated ones.
        crossing: Real against generated.
    """

    ks: tuple[int, ...]
    scale: float
    real: Neighbors
    generated: Neighbors
    crossing: Crossing

    def values(self) -> list[dict[str, float]]:
        """Return every metric by name, for each k."""
        ks = np.array(self.ks)
        found = {
            "density": density(self.crossing, ks),
            "coverage": coverage(self.crossing),
            "precision": precision(self.crossing),
            "recall": recall(self.crossing),
        }
        return [
            {
                **{name: float(value[index]) for name, value in found.items()},
                "clipped_density": clipped_density(
                    self.crossing.clipped_balls[:, index], balls_of_others(self.real, k), k
                ),
                "clipped_coverage": clipped_coverage(
                    self.crossing.in_real_ball[:, index], len(self.generated.distances), k
                ),
                "p_precision": probabilistic.probabilistic_precision(self.crossing),
                "p_recall": probabilistic.probabilistic_recall(self.crossing),
                "authenticity": authenticity(self.crossing.nearest_real, self.real),
            }
            for index, k in enumerate(self.ks)
        ]


def compare(
    real: Rows,
    generated: Rows,
    ks: Sequence[int],
    progress: Progress = lambda _: None,
    journal: Journal | None = None,
) -> Comparison:
    """Look at all distances between and within two sets.

    Args:
        real: Features of the real samples, [N, D], finite; may lie in a file.
        generated: Those of the generated samples, [M, D].
        ks: The neighbours whose distances are to be radii; each at least 1 and below N and M, which are above 4.
        progress: Called with the share that is done.
        journal: Keeps where it stands, and may know where it stood; what it knew leads to the very same result.
    """
    x, y = in_frame(real, generated)
    most = max(*ks, probabilistic.K) + _SPARE_NEIGHBORS
    first, second, third = _SHARES
    within = nearest(x, x, min(most, len(x) - 1), lambda done: progress(first * done), journal, "real")
    others = nearest(y, y, min(most, len(y) - 1), lambda done: progress(first + second * done), journal, "generated")
    columns = np.array(ks) - 1
    reach = Reach(
        real=within.distances[:, columns],
        generated=others.distances[:, columns],
        real_support=probabilistic.support(within.distances),
        generated_support=probabilistic.support(others.distances),
    )
    crossing = cross(x, y, reach, lambda done: progress(first + second + third * done), journal)
    return Comparison(tuple(ks), x.scale, within, others, crossing)

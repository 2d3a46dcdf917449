"""Samples of an evaluation worth looking at, ranked, read from the evaluation's own file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.evaluations import EvaluationSample, Shown
from faceter.vision.boxes import IntArray

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class RankedSet:
    """One of the two sets: balls and nearest neighbour of each of its samples in the other set."""

    indices: IntArray
    """Positions in the dataset, int64 [N]."""
    balls: IntArray
    """int64 [N]: of a generated sample, the real balls it lies in; of a real one, the generated samples in its ball."""
    nearest: IntArray
    """Row of the nearest sample of the other set, int64 [N]."""
    distance: NDArray[np.float64]
    """Distance to that sample, [N]."""
    names: NDArray[np.str_] | None
    """Names in the archive, [N]; None where samples have none."""
    labels: NDArray[np.str_] | None
    """Classes, [N], empty where a sample has none; None where no sample has one."""

    @classmethod
    def of(cls, arrays: Arrays, role: str, other: str) -> "RankedSet":
        """Return the set of a role, ``reference`` or ``generated``; see `RankedSamples.of`."""
        return cls(
            indices=arrays[f"{role}_indices"],
            balls=arrays[f"{role}_balls"],
            nearest=arrays[f"nearest_{other}"],
            distance=arrays[f"nearest_{other}_distance"],
            names=arrays.get(f"{role}_names"),
            labels=arrays.get(f"{role}_labels"),
        )

    def order(self, which: Shown) -> IntArray:
        """Return the rows that are shown, ranked; ties go by their positions in the dataset."""
        match which:
            case Shown.OUTSIDE | Shown.UNCOVERED:
                without_ball = np.flatnonzero(self.balls == 0)
                return without_ball[np.lexsort((self.indices[without_ball], -self.distance[without_ball]))]
            case Shown.DENSEST:
                return np.lexsort((self.indices, self.distance, -self.balls.astype(np.int64)))
            case Shown.CLOSEST:
                return np.lexsort((self.indices, self.distance))


@dataclass(frozen=True)
class RankedSamples:
    """Both sets of an evaluation, and rankings of their samples."""

    reference: RankedSet
    """The real samples."""
    generated: RankedSet
    """The generated samples."""

    @classmethod
    def of(cls, arrays: Arrays) -> "RankedSamples":
        """Return the samples that the arrays of an evaluation's file describe.

        Args:
            arrays: By name, with M generated and N real samples: ``generated_indices`` and ``reference_indices``, int64
                [M] and [N], positions in the datasets; ``generated_balls``, int64 [M], in how many real balls each
                lies; ``reference_balls``, int64 [N], how many generated samples lie in each ball;
                ``nearest_reference``, int64 [M], and ``nearest_reference_distance``, float64 [M], row and distance of
                the nearest real sample of each generated one; ``nearest_generated``, int64 [N], and
                ``nearest_generated_distance``, float64 [N], the converse; and optional
                ``generated_names``, ``reference_names``, ``generated_labels`` and ``reference_labels``, text [M] or
                [N], a label being empty where a sample has none.
        """
        return cls(
            reference=RankedSet.of(arrays, "reference", "generated"),
            generated=RankedSet.of(arrays, "generated", "reference"),
        )

    @classmethod
    def read(cls, path: Path) -> "RankedSamples":
        """Read an evaluation's own file, an ``.npz`` of the arrays that `of` lists."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls.of(dict(arrays))

    def order(self, which: Shown) -> IntArray:
        """Return the ranked rows of the set that ``which`` shows, int64.

        ``outside`` and ``uncovered``: the samples with 0 balls, by descending distance; ``densest``: all generated ones
        by descending balls, then ascending distance; ``closest``: all generated ones by ascending distance. Ties go
        by their positions in the dataset.
        """
        return self._sets(which)[0].order(which)

    def sample(self, which: Shown, row: int) -> EvaluationSample:
        """Return one sample and its nearest neighbour.

        Args:
            which: Determines the set.
            row: One of ``order(which)``.
        """
        shown, other = self._sets(which)
        nearest = int(shown.nearest[row])
        name: Literal["reference", "generated"] = "reference" if shown is self.reference else "generated"
        return EvaluationSample(
            set=name,
            index=int(shown.indices[row]),
            name=_text(shown.names, row),
            label=_text(shown.labels, row),
            balls=int(shown.balls[row]),
            distance=float(shown.distance[row]),
            nearest_index=int(other.indices[nearest]),
            nearest_name=_text(other.names, nearest),
        )

    def _sets(self, which: Shown) -> tuple[RankedSet, RankedSet]:
        """Return the set that is shown, and the other."""
        if which is Shown.UNCOVERED:
            return self.reference, self.generated
        return self.generated, self.reference


def _text(texts: NDArray[np.str_] | None, row: int) -> str | None:
    return None if texts is None else str(texts[row]) or None

"""Samples of an evaluation worth looking at, in the order they are shown in, read from the evaluation's own file."""

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
class ComparedSet:
    """One of the two sets: for each of its samples, how it lies among those of the other."""

    indices: IntArray
    """Positions in the dataset, int64 [N]."""
    balls: IntArray
    """Of generated samples: in how many real balls each lies; of real ones: how many generated lie in its. int64 [N]"""
    nearest: IntArray
    """Row of the nearest sample of the other set, int64 [N]."""
    distance: NDArray[np.float64]
    """How far that one is, [N]."""
    names: NDArray[np.str_] | None
    """Names in the archive, [N]; None where samples have none."""
    labels: NDArray[np.str_] | None
    """Classes, [N], empty where a sample has none; None where no sample has one."""

    @classmethod
    def of(cls, arrays: Arrays, this: str, other: str) -> "ComparedSet":
        """Return the set called ``this`` in the arrays of an evaluation; see `ShownSamples.of`."""
        return cls(
            indices=arrays[f"{this}_indices"],
            balls=arrays[f"{this}_balls"],
            nearest=arrays[f"nearest_{other}"],
            distance=arrays[f"nearest_{other}_distance"],
            names=arrays.get(f"{this}_names"),
            labels=arrays.get(f"{this}_labels"),
        )

    def order(self, which: Shown) -> IntArray:
        """Return the rows that are shown, the first to look at first; of equal ones the earlier in the dataset."""
        match which:
            case Shown.OUTSIDE | Shown.UNCOVERED:
                alone = np.flatnonzero(self.balls == 0)
                return alone[np.lexsort((self.indices[alone], -self.distance[alone]))]
            case Shown.DENSEST:
                return np.lexsort((self.indices, self.distance, -self.balls.astype(np.int64)))
            case Shown.CLOSEST:
                return np.lexsort((self.indices, self.distance))


@dataclass(frozen=True)
class ShownSamples:
    """Both sets of an evaluation, and what of them is worth looking at."""

    reference: ComparedSet
    """The real samples."""
    generated: ComparedSet
    """The generated samples."""

    @classmethod
    def of(cls, arrays: Arrays) -> "ShownSamples":
        """Return the samples that the arrays of an evaluation's file describe.

        Args:
            arrays: By name, with M generated and N real samples: ``generated_indices`` and ``reference_indices``, int64
                [M] and [N], positions in the datasets; ``generated_balls``, int64 [M], in how many real balls each
                lies; ``reference_balls``, int64 [N], how many generated samples lie in each ball;
                ``nearest_reference``, int64 [M], and ``nearest_reference_distance``, float64 [M], row and distance of
                the nearest real sample of each generated one; ``nearest_generated``, int64 [N], and
                ``nearest_generated_distance``, float64 [N], the other way round; and where there are any
                ``generated_names``, ``reference_names``, ``generated_labels`` and ``reference_labels``, text [M] or
                [N], a label being empty where a sample has none.
        """
        return cls(
            reference=ComparedSet.of(arrays, "reference", "generated"),
            generated=ComparedSet.of(arrays, "generated", "reference"),
        )

    @classmethod
    def read(cls, path: Path) -> "ShownSamples":
        """Read an evaluation's own file, an ``.npz`` of the arrays that `of` lists."""
        with np.load(path, allow_pickle=False) as arrays:
            return cls.of(dict(arrays))

    def order(self, which: Shown) -> IntArray:
        """Return the rows of the set that ``which`` shows, the first to look at first, int64.

        ``outside`` and ``uncovered`` are the samples with 0 balls, by falling distance; ``densest`` all generated ones
        by falling balls, then rising distance; ``closest`` all generated ones by rising distance. Ties go by their
        positions in the dataset.
        """
        return self._sets(which)[0].order(which)

    def sample(self, which: Shown, row: int) -> EvaluationSample:
        """Return what is said of one sample.

        Args:
            which: Tells the set.
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

    def _sets(self, which: Shown) -> tuple[ComparedSet, ComparedSet]:
        """Return the set that is shown, and the other."""
        if which is Shown.UNCOVERED:
            return self.reference, self.generated
        return self.generated, self.reference


def _text(texts: NDArray[np.str_] | None, row: int) -> str | None:
    return None if texts is None else str(texts[row]) or None

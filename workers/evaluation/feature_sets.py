"""The features of a dataset as memory-mapped rows, with the class and the name of each sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.evaluations import LEAST_SAMPLES
from faceter.datasets.features import FeaturesDataset
from workers.evaluation.points import Integers, Rows
from workers.jobs.scratch import rows_in_file


@dataclass(frozen=True)
class FeatureSet:
    """Samples in the feature space.

    Args:
        rows: [N, D], finite; may be memory-mapped.
        indices: Position of each sample in its dataset, ascending, int64 [N].
        labels: Class of each sample, text [N]; None if there are none.
        names: Name of each sample, text [N]; None if there are none.
    """

    rows: Rows
    indices: Integers
    labels: NDArray[np.str_] | None = None
    names: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        """D, the dimension of the feature space."""
        return int(self.rows.shape[1])

    def of_class(self, label: str) -> FeatureSet:
        """Return the samples of one class, in memory."""
        assert self.labels is not None
        chosen = np.flatnonzero(self.labels == label)
        return FeatureSet(np.asarray(self.rows[chosen]), self.indices[chosen])


def read_features(
    folder: Path,
    dataset: FeaturesDataset,
    *,
    max_samples: int | None,
    rng: np.random.Generator,
    names: NDArray[np.str_] | None = None,
) -> FeatureSet:
    """Return the features of a dataset, or of a random subset of it, a block in memory at a time.

    Args:
        folder: For the memory-mapped file.
        dataset: Has the features.
        max_samples: Size of the subset; all samples if not given.
        rng: Draws the subset.
        names: Name of each sample of the dataset.

    Raises:
        FaceterError: ``STORAGE_FULL``; ``INVALID_ARCHIVE`` if the file is damaged.
    """
    count = len(dataset)
    indices = np.arange(count)
    if max_samples is not None and max_samples < count:
        indices = np.sort(rng.choice(count, max_samples, replace=False))
    rows = rows_in_file(_selected_rows(dataset, indices), folder, dataset.dtype)
    labels = None
    if dataset.labels is not None:
        labels = np.array(dataset.classes, np.str_)[dataset.labels[indices]]
    return FeatureSet(rows, indices, labels, None if names is None else names[indices])


def validate_sizes(reference: FeatureSet, generated: FeatureSet, k: int) -> None:
    """Check that two sets can be compared.

    Args:
        reference: The real samples.
        generated: The generated samples.
        k: The largest k.

    Raises:
        FaceterError: ``DATASET_MISMATCH``.
    """
    if reference.width != generated.width:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            f"The features of the real samples have {reference.width} values each, those of the generated ones "
            f"{generated.width}. Both must come from one feature extractor.",
            field="generated_id",
        )
    for role, features in (("reference", reference), ("generated", generated)):
        if len(features) <= max(k, LEAST_SAMPLES - 1):
            raise FaceterError(
                ProblemKind.DATASET_MISMATCH,
                f"The {role} dataset has {len(features)} samples; it must have more than k = {k}, and at least "
                f"{LEAST_SAMPLES}.",
                field=f"{role}_id",
            )


def _selected_rows(dataset: FeaturesDataset, indices: Integers) -> Iterator[Rows]:
    """Yield the rows at ascending positions, block by block."""
    start = 0
    for block in dataset.blocks():
        first, last = np.searchsorted(indices, [start, start + len(block)])
        if last > first:
            yield block[indices[first:last] - start]
        start += len(block)

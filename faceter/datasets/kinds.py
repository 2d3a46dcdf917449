"""The kinds of dataset and what reads each: a new kind is one file and one line here."""

from pathlib import Path
from typing import Literal, overload

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.samples import DatasetSummary, ProgressFunction
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.text_pairs import TextPairsDataset

InputDataset = ImagesDataset | DetectionDataset | ConceptsDataset | SignalsDataset
"""A dataset of images or signals, opened: what becomes a model's one input."""

AnyDataset = InputDataset | TextPairsDataset | FeaturesDataset | DomainsDataset
"""A dataset of any kind, opened."""

READERS: dict[DatasetKind, type[AnyDataset]] = {
    DatasetKind.IMAGES: ImagesDataset,
    DatasetKind.DETECTION: DetectionDataset,
    DatasetKind.CONCEPTS: ConceptsDataset,
    DatasetKind.SIGNALS: SignalsDataset,
    DatasetKind.TEXT_PAIRS: TextPairsDataset,
    DatasetKind.FEATURES: FeaturesDataset,
    DatasetKind.DOMAINS: DomainsDataset,
}
"""What reads each kind."""


@overload
def open_dataset(path: Path, kind: Literal[DatasetKind.IMAGES], settings: Settings | None = None) -> ImagesDataset: ...
@overload
def open_dataset(
    path: Path, kind: Literal[DatasetKind.DETECTION], settings: Settings | None = None
) -> DetectionDataset: ...
@overload
def open_dataset(
    path: Path, kind: Literal[DatasetKind.CONCEPTS], settings: Settings | None = None
) -> ConceptsDataset: ...
@overload
def open_dataset(
    path: Path, kind: Literal[DatasetKind.SIGNALS], settings: Settings | None = None
) -> SignalsDataset: ...
@overload
def open_dataset(
    path: Path, kind: Literal[DatasetKind.TEXT_PAIRS], settings: Settings | None = None
) -> TextPairsDataset: ...
@overload
def open_dataset(
    path: Path, kind: Literal[DatasetKind.FEATURES], settings: Settings | None = None
) -> FeaturesDataset: ...
@overload
def open_dataset(
    path: Path, kind: Literal[DatasetKind.DOMAINS], settings: Settings | None = None
) -> DomainsDataset: ...
@overload
def open_dataset(path: Path, kind: DatasetKind, settings: Settings | None = None) -> AnyDataset: ...


def open_dataset(path: Path, kind: DatasetKind, settings: Settings | None = None) -> AnyDataset:
    """Open a dataset to read from; close it after use, or use it as a context manager.

    Args:
        path: Its file.
        kind: What it holds.
        settings: Limits; those of the environment if not given.

    Raises:
        FaceterError: If the file is not safe or has not the form of its kind.
    """
    return READERS[kind].open(path, settings if settings is not None else Settings())


def open_inputs(path: Path, kind: DatasetKind, settings: Settings | None = None) -> InputDataset:
    """Open a dataset of images or signals, which become a model's one input; see :func:`open_dataset`.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` for features, text pairs and domains; what :func:`open_dataset` raises.
    """
    if kind is DatasetKind.FEATURES:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The dataset holds features, which are no inputs of a model. Give images or signals.",
        )
    if kind is DatasetKind.TEXT_PAIRS:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The dataset holds text pairs, which are for explanations. Give images or signals.",
        )
    if kind is DatasetKind.DOMAINS:
        raise FaceterError(
            ProblemKind.DATASET_MISMATCH,
            "The dataset holds two domains, which are for translators. Give images or signals; the images of one "
            "domain can be uploaded as kind images.",
        )
    opened = open_dataset(path, kind, settings)
    assert not isinstance(opened, FeaturesDataset | TextPairsDataset | DomainsDataset)
    return opened


def check(
    path: Path,
    kind: DatasetKind,
    settings: Settings,
    progress: ProgressFunction | None = None,
    *,
    paired: bool = False,
) -> DatasetSummary:
    """Check a dataset fully, every image decoded and every value read, and say what it holds.

    Args:
        path: Its file.
        kind: What it is said to hold.
        settings: Limits.
        progress: Is told the fraction done.
        paired: Of domains, whether their images are said to be pairs, which is then checked; other kinds have none.

    Raises:
        FaceterError: The first thing found wrong, in words that name it.
    """
    with open_dataset(path, kind, settings) as dataset:
        if isinstance(dataset, DomainsDataset):
            return dataset.verify(progress, paired=paired)
        return dataset.verify(progress)

"""The kinds of datasets and the reader of each: a new kind is one file and one line in `READERS`."""

from pathlib import Path

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.images import ImagesDataset
from faceter.datasets.reader import DatasetReader
from faceter.datasets.samples import DatasetContents, ProgressFunction
from faceter.datasets.signals import SignalsDataset
from faceter.datasets.tensors import TensorsDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from faceter.datasets.tokenized import TokenizableDataset

InputDataset = ImageFilesDataset | SignalsDataset | TensorsDataset | TokenizableDataset
"""A dataset of images, signals, tensors or texts, opened: each sample becomes the inputs of a model."""

READERS: dict[DatasetKind, type[DatasetReader]] = {
    DatasetKind.IMAGES: ImagesDataset,
    DatasetKind.DETECTION: DetectionDataset,
    DatasetKind.CONCEPTS: ConceptsDataset,
    DatasetKind.SIGNALS: SignalsDataset,
    DatasetKind.TENSORS: TensorsDataset,
    DatasetKind.TEXT_PAIRS: TextPairsDataset,
    DatasetKind.TEXTS: TextsDataset,
    DatasetKind.FEATURES: FeaturesDataset,
    DatasetKind.DOMAINS: DomainsDataset,
}
"""The reader of each kind. Where the kind is known in advance, its reader's own ``open`` gives its type."""


def open_dataset(path: Path, kind: DatasetKind, settings: Settings) -> DatasetReader:
    """Open a dataset of any kind; see `DatasetReader.open`."""
    return READERS[kind].open(path, settings)


def open_inputs(path: Path, kind: DatasetKind, settings: Settings) -> InputDataset:
    """Open a dataset of images, signals, tensors or texts, which become a model's inputs; see `DatasetReader.open`.

    Raises:
        FaceterError: ``DATASET_MISMATCH`` for features and domains; what `DatasetReader.open` raises.
    """
    reader = READERS[kind]
    if not issubclass(reader, ImageFilesDataset | SignalsDataset | TensorsDataset | TokenizableDataset):
        raise FaceterError(ProblemKind.DATASET_MISMATCH, reader.not_model_inputs)
    return reader.open(path, settings)


def verify_dataset(
    path: Path,
    kind: DatasetKind,
    settings: Settings,
    progress: ProgressFunction | None = None,
    *,
    paired: bool = False,
) -> DatasetContents:
    """Check a dataset fully, every image decoded and every value read, and return its summary.

    Args:
        path: Its file.
        kind: The kind it was uploaded as.
        settings: Limits.
        progress: Called with the fraction done.
        paired: Of domains, whether their images must be pairs; other kinds have none.

    Raises:
        FaceterError: For the first problem, naming it.
    """
    with open_dataset(path, kind, settings) as dataset:
        if isinstance(dataset, DomainsDataset):
            return dataset.verify(progress, paired=paired)
        return dataset.verify(progress)

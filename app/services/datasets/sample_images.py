"""Samples of a dataset as images, to be shown."""

import io

from PIL import Image

from faceter.contracts.datasets import Dataset
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets.domains import DomainsDataset
from faceter.datasets.image_files import ImageFilesDataset
from faceter.datasets.kinds import READERS
from faceter.datasets.reader import DatasetReader


def check_sample(dataset: Dataset, index: int) -> None:
    """Check that a dataset has a sample, and that it is an image.

    Raises:
        FaceterError: `NOT_ACCEPTABLE` if samples of this kind are no images, `NOT_FOUND` if there is no such sample.
    """
    if not issubclass(READERS[dataset.kind], ImageFilesDataset | DomainsDataset):
        raise FaceterError(
            ProblemKind.NOT_ACCEPTABLE,
            f"{dataset.id} is of kind {dataset.kind}, whose samples are no images. Download the file instead.",
        )
    if index >= dataset.samples:
        raise FaceterError(
            ProblemKind.NOT_FOUND,
            f"{dataset.id} has {dataset.samples:,} samples, 0 to {dataset.samples - 1}: there is no sample {index}.",
        )


def sample_of(opened: DatasetReader, index: int) -> Image.Image:
    """Return a sample of a dataset that has images; of domains, the images of A come first.

    Raises:
        FaceterError: What `faceter.datasets.image_files.ImageFilesDataset.image` raises.
    """
    if not isinstance(opened, DomainsDataset):
        assert isinstance(opened, ImageFilesDataset)
        return opened.image(index)
    of_a = opened.count("A")
    return opened.image("A", index) if index < of_a else opened.image("B", index - of_a)


def reduced_png(image: Image.Image, max_side: int) -> bytes:
    """Return an image as a PNG file whose longer side has at most so many pixels."""
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

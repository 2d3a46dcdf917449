"""What every dataset of images has: its images, checked, and batches of them as a model's input."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image

from faceter.contracts.models import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.samples import Batch, DatasetSummary, ProgressFunction
from faceter.vision.boxes import IntArray
from faceter.vision.images import open_image
from faceter.vision.preprocess import preprocess

_BYTES_PER_PIXEL = 8
_SMALLEST_IMAGE_LIMIT = 1 << 20


class ImageDataset:
    """The images of an archive, in a fixed order, decoded only when asked for.

    Args:
        archive: The archive; closed together with the dataset.
        settings: Limits.
    """

    classes: list[str]
    """Names of the classes; empty if the images are not labelled."""

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        self.archive = archive
        self.max_pixels = settings.max_pixels
        self.names: list[str] = []
        self.notes: list[str] = list(archive.notes)

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Open the dataset in a zip file, without decoding its images.

        Raises:
            FaceterError: If the archive is not safe, or has not the form of this kind.
        """
        archive = SafeArchive(
            path, max_unpacked_bytes=settings.max_unpacked_bytes, max_entries=settings.max_archive_entries
        )
        try:
            return cls(archive, settings)
        except BaseException:
            archive.close()
            raise

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image.Image:
        """Return an image, RGB and upright.

        Raises:
            FaceterError: ``INVALID_IMAGE``, ``IMAGE_TOO_LARGE`` or ``INVALID_ARCHIVE``, naming the file.
        """
        name = self.names[index]
        most = max(self.max_pixels * _BYTES_PER_PIXEL, _SMALLEST_IMAGE_LIMIT)
        return open_image(self.archive.read(name, max_bytes=most), max_pixels=self.max_pixels, name=name)

    def verify(self, progress: ProgressFunction | None = None) -> DatasetSummary:
        """Decode every image once, one after the other, and say what the dataset holds.

        Args:
            progress: Is told the fraction done.

        Raises:
            FaceterError: Naming the first image that cannot be read.
        """
        every = max(1, len(self) // 100)
        for index in range(len(self)):
            self.verify_image(index, self.image(index))
            if progress is not None and (index + 1) % every == 0:
                progress((index + 1) / len(self))
        return self.summary()

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Check what is said about an image against the image itself; nothing by default."""

    def summary(self) -> DatasetSummary:
        """Say what the dataset holds."""
        raise NotImplementedError

    def sample_labels(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return the class of each image, int64 [N], or None where images have no class of their own."""
        raise NotImplementedError

    def batches(
        self,
        preprocessing: Preprocessing,
        batch: int,
        *,
        model_labels: Sequence[str] | None = None,
        indices: Sequence[int] | None = None,
    ) -> Iterator[Batch]:
        """Yield images as a model's input, in order, one batch in memory at a time; the last may be smaller.

        Args:
            preprocessing: How an image becomes an input.
            batch: Images at a time.
            model_labels: The model's labels, in whose order classes are numbered; the dataset's own if not given.
            indices: Which images, in this order; all if not given.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if a class of the dataset is none of the model's; see also ``image``.
        """
        labels = self.sample_labels(model_labels)
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        for part in np.array_split(chosen, range(batch, len(chosen), batch)) if len(chosen) else []:
            inputs = np.empty((len(part), preprocessing.channels, *preprocessing.size), np.float32)
            placements = []
            for row, index in enumerate(part):
                inputs[row], placement = preprocess(self.image(int(index)), preprocessing)
                placements.append(placement)
            yield Batch(inputs, part, None if labels is None else labels[part], placements)

    def close(self) -> None:
        """Close the archive."""
        self.archive.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

"""The base of datasets of image files: the images of an archive, and batches of them as a model's input."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import ExifTags, Image

from faceter.contracts.errors import FaceterError
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.archive_dataset import ArchiveDataset
from faceter.datasets.samples import Batch, DatasetContents, ProgressFunction
from faceter.vision.boxes import IntArray
from faceter.vision.decoder import InputImage, open_input_image
from faceter.vision.images import TURNED, open_rgb_image, opened_file

_BYTES_PER_PIXEL = 8
_SMALLEST_IMAGE_LIMIT = 1 << 20


class ImageFilesDataset(ArchiveDataset):
    """The images of an archive, in a fixed order, decoded on demand.

    Args:
        archive: Closed together with the dataset.
        settings: Limits.
    """

    classes: list[str]
    """Names of the classes; empty if the images are not labelled."""

    def __init__(self, archive: SafeArchive, settings: Settings) -> None:
        super().__init__(archive, settings)
        self.names: list[str] = []
        """Names of the image files in the archive."""

    def __len__(self) -> int:
        return len(self.names)

    def image(self, index: int) -> Image.Image:
        """Return an image at its full size, RGB and upright.

        Raises:
            FaceterError: ``INVALID_IMAGE``, ``IMAGE_TOO_LARGE`` or ``INVALID_ARCHIVE``, naming the file.
        """
        return read_image(self.archive, self.names[index], self.max_pixels)

    def input_image(self, index: int, preprocessing: Preprocessing) -> InputImage:
        """Return an image decoded for the input of a model with this preprocessing; see `image` for errors."""
        name = self.names[index]
        content = self.archive.read(name, max_bytes=_most_bytes(self.max_pixels))
        return open_input_image(content, preprocessing, max_pixels=self.max_pixels, name=name)

    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Decode every image once, in order, and return the summary; see `DatasetReader.verify`."""
        every = max(1, len(self) // 100)
        for index in range(len(self)):
            self.verify_image(index, self.image(index))
            if progress is not None and (index + 1) % every == 0:
                progress((index + 1) / len(self))
        return self.summary()

    def verify_image(self, index: int, image: Image.Image) -> None:
        """Compare the annotations of an image with the image itself; nothing by default."""

    @abstractmethod
    def sample_labels(self, model_labels: Sequence[str] | None) -> IntArray | None:
        """Return the class of each image, int64 [N], or None if images have no class of their own.

        Args:
            model_labels: The model's labels, in whose order classes are numbered; the dataset's own order if not given.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` naming the classes that are none of the labels.
        """

    def class_positions(self) -> IntArray | None:
        """Return the position of each image's class in ``classes``, int64 [N]; None if images have no class."""
        return None

    @abstractmethod
    def labels_for(self, model_labels: Sequence[str] | None) -> list[int] | None:
        """Return the classes as positions in the model's labels; see `sample_labels` for errors."""

    def batches(
        self,
        preprocessing: Preprocessing,
        batch: int,
        *,
        model_labels: Sequence[str] | None = None,
        indices: Sequence[int] | None = None,
    ) -> Iterator[Batch]:
        """Yield images as a model's input, in order, one batch at a time; the last may be smaller.

        Args:
            preprocessing: The model's.
            batch: Images at a time.
            model_labels: The model's labels, in whose order classes are numbered; the dataset's own if not given.
            indices: Which images, in this order; all if not given.

        Raises:
            FaceterError: ``DATASET_MISMATCH`` if a class of the dataset is none of the model's; see also `image`.
        """
        labels = self.sample_labels(model_labels)
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        for part in np.array_split(chosen, range(batch, len(chosen), batch)) if len(chosen) else []:
            inputs = np.empty((len(part), *preprocessing.shape), np.float32)
            placements = []
            for row, index in enumerate(part):
                inputs[row], placement = self.input_image(int(index), preprocessing).preprocessed()
                placements.append(placement)
            yield Batch(inputs, part, None if labels is None else labels[part], placements)


def read_image(archive: SafeArchive, name: str, max_pixels: int) -> Image.Image:
    """Return an image of an archive, RGB and upright; see `ImageFilesDataset.image` for errors."""
    return open_rgb_image(archive.read(name, max_bytes=_most_bytes(max_pixels)), max_pixels=max_pixels, name=name)


def image_size(archive: SafeArchive, name: str, max_pixels: int) -> tuple[int, int]:
    """Return the width and height of an image of an archive, upright, from its beginning where that is enough.

    Raises:
        FaceterError: As `ImageFilesDataset.image` does, though damage after the header is not noticed.
    """
    beginning = next(archive.stream(name, max_bytes=_most_bytes(max_pixels)), b"")
    try:
        return _upright_size(beginning, name, max_pixels)
    except FaceterError:
        return _upright_size(archive.read(name, max_bytes=_most_bytes(max_pixels)), name, max_pixels)


def _upright_size(content: bytes, name: str, max_pixels: int) -> tuple[int, int]:
    with opened_file(content, max_pixels=max_pixels, name=name) as image:
        width, height = image.size
        is_turned = "exif" in image.info and image.getexif().get(ExifTags.Base.Orientation) in TURNED
    return (height, width) if is_turned else (width, height)


def _most_bytes(max_pixels: int) -> int:
    return max(max_pixels * _BYTES_PER_PIXEL, _SMALLEST_IMAGE_LIMIT)

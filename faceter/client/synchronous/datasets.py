# Generated from faceter/client/asynchronous by scripts/generate-client; edit that.
"""Datasets: upload files and folders."""

from collections.abc import Iterator
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from typing import ClassVar, Unpack

from faceter.client.calls import ApiCall
from faceter.client.fields import DatasetFilters
from faceter.client.files import FileLike, FilePart, ReceivedFile, zipped
from faceter.client.html import dataset_html
from faceter.client.synchronous.records import RecordCollection, RemoteRecord
from faceter.client.synchronous.runtime import in_thread
from faceter.contracts.datasets import Dataset, DatasetKind, DatasetSummary
from faceter.contracts.references import ResourceName


class RemoteDataset(Dataset, RemoteRecord):
    """A dataset of the service."""

    collection: ClassVar[ResourceName] = ResourceName.DATASETS

    def _repr_html_(self) -> str:
        return dataset_html(self)

    def sample_image(self, index: int, *, max_side: int | None = None) -> ReceivedFile:
        """Return a sample of a dataset of images as a PNG; it shows itself in a notebook.

        Args:
            index: Position of the sample; of kind `domains`, the images of A come first.
            max_side: Pixels of the longer side, to which larger images are reduced; by default 1,024.
        """
        path = f"{self.path}/samples/{index}/image"
        return self.client.receive(path, f"{self.id}-{index}.png", {"max_side": max_side})


class Datasets(RecordCollection[RemoteDataset]):
    """The datasets of the service."""

    record_type = RemoteDataset

    def upload(
        self, file: FileLike, *, kind: DatasetKind | str, name: str | None = None, paired: bool | None = None
    ) -> RemoteDataset:
        """Upload a dataset.

        Args:
            file: A path, the content, or an open file. A folder is zipped on the way, without hidden files.
            kind: Kind of samples; it determines the format, see `faceter.contracts.datasets.DatasetKind`.
            name: Name of the dataset; by default that of the file, without its ending.
            paired: For kind `domains`: whether the images are pairs.

        Raises:
            InvalidRequest: If it is no usable dataset of that kind.
        """
        form = {"kind": DatasetKind(kind).value}
        if name is not None:
            form["name"] = name
        if paired is not None:
            form["paired"] = str(paired).lower()
        with ExitStack() as stack:
            if isinstance(file, (str, PathLike)) and Path(file).is_dir():
                file = in_thread(stack.enter_context, zipped(Path(file)))
            part = FilePart.of("file", file, "dataset")
            call = ApiCall("POST", self._path, form=form, files=(part,), creates=True)
            return self._client.made(RemoteDataset, call)

    def list(self, *, page_size: int = 100, **filters: Unpack[DatasetFilters]) -> Iterator[DatasetSummary]:
        """Iterate over the datasets, newest first; pages are read as they are needed."""
        return self._client.pages.items(DatasetSummary, self._path, filters, page_size)

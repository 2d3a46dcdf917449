"""Datasets that are kept open."""

from pathlib import Path

import pytest

from app.services.datasets.open_datasets import OpenDatasets
from faceter.contracts.base import utc_now
from faceter.contracts.datasets import Dataset, DatasetKind
from faceter.contracts.errors import FaceterError
from faceter.contracts.settings import Settings
from faceter.datasets.reader import DatasetReader
from tests.app.uploads import images


def _record(number: int) -> Dataset:
    return Dataset(
        id=f"dts_{number}",
        name=str(number),
        kind=DatasetKind.IMAGES,
        created_at=utc_now(),
        sha256=f"{number:064x}",
        bytes=1,
        samples=2,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A dataset of two images."""
    path = tmp_path / "images.zip"
    path.write_bytes(images())
    return path


def _read(datasets: OpenDatasets, file: Path, number: int) -> DatasetReader:
    with datasets.reading(file, _record(number)) as opened:
        assert len(opened) == 2
        return opened


def test_a_dataset_stays_open_until_others_were_read(file: Path, settings: Settings) -> None:
    datasets = OpenDatasets(settings)
    first = _read(datasets, file, 0)
    assert _read(datasets, file, 0) is first
    for number in range(1, 4):
        _read(datasets, file, number)
    assert _read(datasets, file, 0) is first
    for number in range(4, 8):
        _read(datasets, file, number)
    assert _read(datasets, file, 0) is not first
    datasets.close()


def test_a_file_that_is_no_dataset_is_not_kept(file: Path, settings: Settings, tmp_path: Path) -> None:
    datasets = OpenDatasets(settings)
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(FaceterError):
        _read(datasets, tmp_path / "bad.zip", 0)
    _read(datasets, file, 0)
    datasets.close()


def test_a_deleted_dataset_is_closed(file: Path, settings: Settings) -> None:
    datasets = OpenDatasets(settings)
    first = _read(datasets, file, 0)
    datasets.drop(f"{1:064x}")
    assert _read(datasets, file, 0) is first
    datasets.drop(f"{0:064x}")
    assert _read(datasets, file, 0) is not first
    datasets.close()

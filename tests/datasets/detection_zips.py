"""Datasets of boxes, opened from members of a zip, or refused."""

from pathlib import Path

import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.detection import DetectionDataset
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import write_zip

SETTINGS = Settings(_env_file=None)


def opened(path: Path, members: dict[str, bytes]) -> DetectionDataset:
    return DetectionDataset.open(write_zip(path / "a.zip", members), SETTINGS)


def refused(path: Path, members: dict[str, bytes], kind: ProblemKind = ProblemKind.INVALID_DATASET) -> str:
    """Return why verifying the dataset fails."""
    with pytest.raises(FaceterError) as caught:
        verify_dataset(write_zip(path / "a.zip", members), DatasetKind.DETECTION, SETTINGS)
    assert caught.value.kind is kind
    return caught.value.detail

"""A small dataset of signals, with changes."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.kinds import verify_dataset
from faceter.datasets.signals import SignalsDataset
from tests.datasets.archives import npz

SETTINGS = Settings(_env_file=None)
SIGNALS = np.random.default_rng(0).normal(size=(20, 2, 30)).astype(np.float32)
LABELS = np.arange(20) % 3
NAMES = ["slow", "normal", "fast"]


def opened(path: Path, **arrays: Any) -> SignalsDataset:
    return SignalsDataset.open(npz(path, **{"signals": SIGNALS, **arrays}), SETTINGS)


def refused(
    path: Path, kind: ProblemKind = ProblemKind.INVALID_DATASET, settings: Settings = SETTINGS, **arrays: Any
) -> str:
    return refused_file(npz(path, **arrays), kind, settings)


def refused_file(path: Path, kind: ProblemKind = ProblemKind.INVALID_DATASET, settings: Settings = SETTINGS) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(path, DatasetKind.SIGNALS, settings)
    assert caught.value.kind is kind, caught.value.detail
    return caught.value.detail


def npy(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()

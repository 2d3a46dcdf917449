"""Fixtures for tests of mixed precision."""

from collections.abc import Iterator

import pytest

from faceter.datasets.images import ImagesDataset
from faceter.datasets.kinds import InputDataset
from tests.workers.quantization.evaluation_data import SETTINGS, digits_zip
from tests.workers.quantization.mixed.targets import COUNT
from tests.workers.quantization.networks import Digits, one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def evaluation(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InputDataset]:
    """Return held-out digits, to measure accuracy on."""
    path = digits_zip(tmp_path_factory.mktemp("evaluation"), digits, count=COUNT)
    with ImagesDataset.open(path, SETTINGS) as data:
        yield data

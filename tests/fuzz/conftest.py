"""One service for the fuzzing tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.service import FuzzedService


@pytest.fixture(scope="package")
def service() -> Iterator[FuzzedService]:
    """A service without a worker."""
    with tempfile.TemporaryDirectory(prefix="fct-") as folder, FuzzedService(Path(folder), worker=False) as service:
        yield service

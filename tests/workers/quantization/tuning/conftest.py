"""What the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.workers.quantization.networks import one_thread


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing by two threads, and lose where these share a core."""
    with one_thread():
        yield

"""Networks shared by the tests of this folder."""

import pytest

from tests.workers.quantization.networks import Digits, train_digits


@pytest.fixture(scope="session")
def digits() -> Digits:
    """A depthwise network trained on digits, and the same function with badly scaled channels."""
    return train_digits()

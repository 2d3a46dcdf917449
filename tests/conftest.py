"""What every test may ask for."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and data beside the project; the test is skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no shared data beside the project (looked for {SHARED_DATA.name} in ../shared)")
    return SHARED_DATA

"""A separate store, without a server and its reaper."""

from pathlib import Path

import pytest

from faceter.contracts.settings import Settings


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a separate service: an empty Valkey and an empty data directory."""
    return Settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url)

"""The queue's own store, which no server's reaper looks after."""

from pathlib import Path

import pytest

from faceter.contracts.settings import Settings


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings of a service of its own: an empty Valkey and an empty data directory."""
    return Settings(_env_file=None, data_dir=tmp_path / "data", redis_url=redis_url)

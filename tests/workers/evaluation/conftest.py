"""Small blocks, so that every set has several."""

import pytest

from workers.evaluation import cross_distances, neighbors


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (neighbors, cross_distances):
        monkeypatch.setattr(module, "_ROWS", 64)
        monkeypatch.setattr(module, "_COLUMNS", 96)

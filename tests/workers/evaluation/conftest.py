"""Blocks so small that any set has several."""

import pytest

from workers.evaluation import crossing, neighbors


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (neighbors, crossing):
        monkeypatch.setattr(module, "_ROWS", 64)
        monkeypatch.setattr(module, "_COLUMNS", 96)

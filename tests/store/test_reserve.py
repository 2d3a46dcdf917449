"""Room that is kept back on the disk."""

from pathlib import Path

import pytest

from faceter.store import reserve as reserve_module
from faceter.store.reserve import Reserve


def test_the_file_has_its_size_on_the_disk_and_is_given_back_once(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 100_000)
    reserve.keep()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 100_000
    reserve.keep()
    assert [path.name for path in tmp_path.iterdir()] == ["reserve"]
    assert reserve.give_back()
    assert not reserve.give_back()


def test_it_is_not_kept_where_there_is_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserve_module, "_MUCH", 10**12)
    Reserve(tmp_path / "reserve", 100_000).keep()
    Reserve(tmp_path / "none", 0).keep()
    Reserve(tmp_path / "missing" / "reserve", 100_000).keep()
    assert list(tmp_path.iterdir()) == []

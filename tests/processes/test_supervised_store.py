"""The embedded Valkey of the service is started again, however often and however it ends."""

import os
import signal
from pathlib import Path

from redis import Redis

from faceter.processes.supervised_store import SupervisedStore
from tests.workers.processes import eventually


def _lines(store: SupervisedStore, until: str) -> list[str]:
    """Supervise the store until a line with that text; return all lines."""
    lines: list[str] = []

    def look() -> bool:
        line = store.restart_if_ended()
        lines.extend([line] if line else [])
        return bool(line and until in line)

    eventually(look, every=0.02)
    return lines


def _serves(store: SupervisedStore) -> None:
    """Supervise the store until it responds."""
    eventually(lambda: store.restart_if_ended() is None and store.valkey.responds(), every=0.02)
    assert store.restart_if_ended() is None


def test_a_killed_store_is_back_at_once_with_its_data_however_often(tmp_path: Path) -> None:
    store = SupervisedStore(tmp_path)
    store.start()
    try:
        for number in range(4):
            _serves(store)
            with Redis.from_url(store.valkey.url) as redis:
                assert redis.dbsize() == number
                redis.set(f"key {number}", number)
            os.kill(store.valkey.pid, signal.SIGKILL)
            (line,) = _lines(store, "ended")
            assert "killed by SIGKILL" in line
            assert line.endswith("in 0.1 s.")
    finally:
        store.stop()


def test_a_store_that_does_not_start_is_tried_again_less_and_less_often_until_it_does(tmp_path: Path) -> None:
    store = SupervisedStore(tmp_path)
    store.start()
    try:
        _serves(store)
        (manifest,) = (tmp_path / "appendonlydir").glob("*.manifest")
        content = manifest.read_bytes()
        manifest.write_bytes(b"not a manifest\n")
        os.kill(store.valkey.pid, signal.SIGKILL)
        lines = _lines(store, "in 1 s.")
        assert [line.rpartition(" in ")[2] for line in lines] == ["0.1 s.", "0.25 s.", "0.5 s.", "1 s."]
        assert "killed by SIGKILL" in lines[0]
        assert "manifest" in lines[-1]
        manifest.write_bytes(content)
        _serves(store)
    finally:
        store.stop()

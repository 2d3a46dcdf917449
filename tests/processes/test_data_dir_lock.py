"""The lock on the data directory."""

import os
from pathlib import Path

import pytest

from faceter.processes.data_dir_lock import locked_data_dir
from faceter.processes.errors import SupervisorError


def test_a_data_directory_is_locked_by_one_process_at_a_time(tmp_path: Path) -> None:
    with locked_data_dir(tmp_path) as record_url:
        record_url("http://127.0.0.1:8123")
        with (
            pytest.raises(SupervisorError, match=rf"process {os.getpid()}, at http://127\.0\.0\.1:8123"),
            locked_data_dir(tmp_path),
        ):
            pass
    with locked_data_dir(tmp_path):
        pass


def test_an_unreadable_lock_file_is_no_reason_to_fail(tmp_path: Path) -> None:
    with locked_data_dir(tmp_path):
        (tmp_path / "faceter.lock").write_text("")
        with pytest.raises(SupervisorError, match="an unknown process"), locked_data_dir(tmp_path):
            pass

"""The supervisor's errors before it starts anything; the running service is in ``end_to_end/test_up.py``."""

from pathlib import Path

import pytest

from faceter.contracts.settings import Settings
from faceter.processes.errors import SupervisorError
from faceter.processes.supervisor import Supervisor


def test_a_data_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = Settings(_env_file=None, data_dir=tmp_path / "file" / "data")
    with pytest.raises(SupervisorError, match="--data-dir") as caught:
        Supervisor(settings).run()
    assert str(settings.data_dir) in str(caught.value)

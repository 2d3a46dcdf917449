from pathlib import Path

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.translation.spill_file import SpillFile


@pytest.mark.parametrize("columns", [(0, 7), (2, 5)])
def test_tiles_are_read_as_written(columns: tuple[int, int], tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    file = SpillFile(tmp_path, 3, 5, 7)
    file.write(values[:, :2], 0, 0)
    file.write(values[:, 2:, :3], 2, 0)
    file.write(values[:, 2:, 3:], 2, 3)
    assert (file.read((0, 5), (0, 7)) == values).all()
    assert (file.read((1, 4), columns) == values[:, 1:4, slice(*columns)]).all()
    assert not list(tmp_path.iterdir())
    file.close()


def test_a_full_disk_is_storage_full(small_disk: Path) -> None:
    file = SpillFile(small_disk, 1, 1000, 1000)
    with pytest.raises(FaceterError, match="room") as caught:
        file.write(np.ones((1, 1000, 1000), np.float32), 0, 0)
    assert caught.value.kind is ProblemKind.STORAGE_FULL
    file.close()

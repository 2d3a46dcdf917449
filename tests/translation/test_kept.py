from pathlib import Path

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.translation.kept import Kept


@pytest.mark.parametrize("columns", [(0, 7), (2, 5)])
def test_what_is_written_is_read(columns: tuple[int, int], tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    kept = Kept(tmp_path, 3, 5, 7)
    kept.write(values[:, :2], 0, 0)
    kept.write(values[:, 2:, :3], 2, 0)
    kept.write(values[:, 2:, 3:], 2, 3)
    assert (kept.read((0, 5), (0, 7)) == values).all()
    assert (kept.read((1, 4), columns) == values[:, 1:4, slice(*columns)]).all()
    assert not list(tmp_path.iterdir())
    kept.close()


def test_a_full_disk_is_said(small_disk: Path) -> None:
    kept = Kept(small_disk, 1, 1000, 1000)
    with pytest.raises(FaceterError, match="room") as caught:
        kept.write(np.ones((1, 1000, 1000), np.float32), 0, 0)
    assert caught.value.kind is ProblemKind.STORAGE_FULL
    kept.close()

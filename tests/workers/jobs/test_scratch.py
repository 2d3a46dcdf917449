"""Rows in a file are the rows, take no memory that is not given back, and leave nothing behind."""

from pathlib import Path

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from tests.workers.evaluation.samples import gaussian
from workers.evaluation.comparison import compare
from workers.evaluation.points import Points, Rows, exact_distances, release_pages
from workers.jobs.scratch import drop_job_folders, job_folder, rows_in_file


def in_file(rows: Rows, folder: Path) -> Rows:
    return rows_in_file(np.array_split(rows, 7), folder, rows.dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_come_back_as_they_were(dtype: type, tmp_path: Path) -> None:
    rows: Rows = gaussian(100, 9).astype(dtype)
    found = in_file(rows, tmp_path)
    np.testing.assert_array_equal(found, rows)
    release_pages(found)
    np.testing.assert_array_equal(found, rows, "they are read again")
    assert not list(tmp_path.iterdir()), "the file has no name"
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_from_a_file_or_from_memory_a_comparison_is_the_same(tmp_path: Path) -> None:
    real, generated = gaussian(240, 40), 0.9 * gaussian(170, 40, seed=1)
    one, other = (
        compare(real, generated, [3, 5]),
        compare(in_file(real, tmp_path), in_file(generated, tmp_path), [3, 5]),
    )
    assert one.values() == other.values()
    np.testing.assert_array_equal(one.cross.nearest_real.distances, other.cross.nearest_real.distances)


def resident(rows: Rows) -> int:
    """Return how many bytes of the memory of this process hold rows of a file."""
    address = rows.ctypes.data
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, _, rest = line.partition(" ")
        if "-" in first and not first.endswith(":"):
            start, end = (int(text, 16) for text in first.split("-"))
            inside = start <= address < end
        elif inside and first == "Rss:":
            return 1024 * int(rest.split()[0])
    raise AssertionError("no such rows")


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="only Linux tells")
@pytest.mark.parametrize("pairs", [3, 5000])
def test_rows_that_were_looked_at_take_no_memory_afterwards(pairs: int, tmp_path: Path) -> None:
    rows = in_file(gaussian(2000, 500), tmp_path)
    points = Points(rows, np.zeros(500), 1.0)
    assert resident(rows) == 0
    rng = np.random.default_rng(0)
    exact_distances(points, rng.integers(0, 2000, pairs), points, rng.integers(0, 2000, pairs))
    assert resident(rows) == 0
    assert rows[7].sum() == points.rows[7].sum()
    assert resident(rows) > 0, "it is told"


def test_a_full_disk_is_said_to_be_full(small_disk: Path) -> None:
    with pytest.raises(FaceterError, match="no room left") as error:
        in_file(gaussian(1000, 200), small_disk)
    assert error.value.kind is ProblemKind.STORAGE_FULL


def test_folders_of_jobs_that_have_ended_are_deleted(settings: Settings) -> None:
    with job_folder(settings, "job_on") as going_on, job_folder(settings, "job_over") as ended:
        (ended / "rows").write_bytes(b"x")
        assert drop_job_folders(settings, lambda: {"job_on"}) == 1
        assert going_on.is_dir()
        assert not ended.exists()


def test_a_folder_of_a_job_goes_with_its_work_however_that_ends(settings: Settings) -> None:
    seen: list[Path] = []

    def work() -> None:
        with job_folder(settings, "job_on") as folder:
            (folder / "rows").write_bytes(b"x")
            seen.append(folder)
            raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        work()
    assert seen[0].parent == settings.scratch_dir
    assert not seen[0].exists()


def test_nobody_is_asked_where_there_is_no_folder(settings: Settings) -> None:
    def asked() -> set[str]:
        raise AssertionError

    assert drop_job_folders(settings, asked) == 0

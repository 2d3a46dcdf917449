"""One comparison gives every metric, whatever the size of its blocks and the number of threads."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from tests.references import later_metrics as slow
from tests.references.prdc import prdc
from tests.workers.evaluation.samples import Floats, gaussian
from tests.workers.jobs.fractions import stage_of
from workers.evaluation import cross_distances, neighbors
from workers.evaluation.comparison import compare
from workers.evaluation.points import Rows

REAL, GENERATED = gaussian(240, 40), 0.9 * gaussian(170, 40, seed=1) + 0.1


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_metric_for_every_k() -> None:
    fractions: list[float] = []
    found = compare(REAL, GENERATED, [3, 5], stage_of(fractions.append)).values()
    for k, values in zip([3, 5], found, strict=True):
        expected = prdc(REAL, GENERATED, k)
        assert {name: values[name] for name in expected} == pytest.approx(expected, abs=1e-12)
        assert values["clipped_density"] == pytest.approx(slow.clipped_density(REAL, GENERATED, k))
        assert values["clipped_coverage"] == pytest.approx(slow.clipped_coverage(REAL, GENERATED, k))
        assert values["p_precision"] == pytest.approx(slow.probabilistic_precision(REAL, GENERATED), abs=1e-5)
        assert values["p_recall"] == pytest.approx(slow.probabilistic_precision(GENERATED, REAL), abs=1e-5)
        assert values["authenticity"] == pytest.approx(slow.authenticity(REAL, GENERATED))
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


@pytest.mark.parametrize(("rows", "columns", "count"), [(1024, 2048, 1), (17, 33, 2), (64, 2048, 2)])
def test_blocks_and_threads_change_nothing(
    rows: int, columns: int, count: int, monkeypatch: pytest.MonkeyPatch, threads: None
) -> None:
    expected = compare(REAL, GENERATED, [5])
    torch.set_num_threads(count)
    for module in (neighbors, cross_distances):
        monkeypatch.setattr(module, "_ROWS", rows)
        monkeypatch.setattr(module, "_COLUMNS", columns)
    found = compare(REAL, GENERATED, [5])
    np.testing.assert_array_equal(found.real.indices, expected.real.indices)
    np.testing.assert_array_equal(found.cross.real_balls_per_generated, expected.cross.real_balls_per_generated)
    np.testing.assert_array_equal(found.cross.generated_balls_per_real, expected.cross.generated_balls_per_real)
    assert found.values()[0] == pytest.approx(expected.values()[0], abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_any_float_dtype(dtype: type) -> None:
    real: Rows = REAL.astype(dtype)
    generated: Rows = GENERATED.astype(dtype)
    found = compare(real, generated, [5]).values()[0]
    wide: tuple[Floats, Floats] = (real.astype(np.float64), generated.astype(np.float64))
    expected = prdc(*wide, 5)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_k_may_be_all_but_one() -> None:
    found = compare(REAL[:9], GENERATED[:8], [7]).values()[0]
    expected = prdc(REAL[:9], GENERATED[:8], 7)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)

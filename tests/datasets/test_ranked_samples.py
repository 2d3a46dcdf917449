"""What of an evaluation is shown, and in what order."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.evaluations import Shown
from faceter.datasets.ranked_samples import RankedSamples
from tests.app.evaluation_records import arrays_file, sample_arrays


def expected(found: dict[str, Any], which: Shown) -> list[int]:
    """Return the rows in their order, by comparing one with the other."""
    this, other = ("reference", "generated") if which is Shown.UNCOVERED else ("generated", "reference")
    indices, balls = found[f"{this}_indices"], found[f"{this}_balls"]
    distance = found[f"nearest_{other}_distance"]
    rows = range(len(indices))
    match which:
        case Shown.OUTSIDE | Shown.UNCOVERED:
            return sorted((row for row in rows if balls[row] == 0), key=lambda row: (-distance[row], indices[row]))
        case Shown.DENSEST:
            return sorted(rows, key=lambda row: (-balls[row], distance[row], indices[row]))
        case Shown.CLOSEST:
            return sorted(rows, key=lambda row: (distance[row], indices[row]))


@pytest.mark.parametrize("which", list(Shown))
@given(seed=st.integers(0, 10_000), generated=st.integers(1, 30), reference=st.integers(1, 30))
def test_each_order(which: Shown, seed: int, generated: int, reference: int) -> None:
    found = sample_arrays(seed, generated=generated, reference=reference)
    assert RankedSamples.of(found).order(which).tolist() == expected(found, which)


@pytest.mark.parametrize("which", list(Shown))
def test_a_sample_names_itself_and_the_nearest_of_the_other_set(which: Shown) -> None:
    found = sample_arrays()
    this, other = ("reference", "generated") if which is Shown.UNCOVERED else ("generated", "reference")
    samples = RankedSamples.of(found)
    assert len(samples.order(which))
    for row in samples.order(which).tolist():
        sample, nearest = samples.sample(which, row), found[f"nearest_{other}"][row]
        assert (sample.set, sample.index) == (this, found[f"{this}_indices"][row])
        assert (sample.name, sample.label or "") == (found[f"{this}_names"][row], found[f"{this}_labels"][row])
        assert sample.label != ""
        assert (sample.balls, sample.distance) == (
            found[f"{this}_balls"][row],
            found[f"nearest_{other}_distance"][row],
        )
        assert sample.nearest_index == found[f"{other}_indices"][nearest]
        assert sample.nearest_name == found[f"{other}_names"][nearest]


def test_counts_without_a_sign_are_in_order_too() -> None:
    found = sample_arrays()
    counts = {**found, "generated_balls": found["generated_balls"].astype(np.uint32)}
    assert RankedSamples.of(counts).order(Shown.DENSEST).tolist() == expected(found, Shown.DENSEST)


def test_without_names_and_labels() -> None:
    sample = RankedSamples.of(sample_arrays(names=False)).sample(Shown.CLOSEST, 0)
    assert (sample.name, sample.label, sample.nearest_name) == (None, None, None)


def test_the_file_reads_as_it_was_written(tmp_path: Path) -> None:
    found, path = sample_arrays(), tmp_path / "a.npz"
    path.write_bytes(arrays_file(found))
    read = RankedSamples.read(path)
    for which in Shown:
        assert read.order(which).tolist() == RankedSamples.of(found).order(which).tolist()
        assert read.sample(which, 1) == RankedSamples.of(found).sample(which, 1)


def test_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{**sample_arrays(), "generated_names": np.array(["a"] * 9, object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        RankedSamples.read(path)

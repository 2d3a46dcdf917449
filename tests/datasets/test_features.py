"""Datasets of features: vectors as they were saved, in blocks, and refused in words that name what is wrong."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets import features as module
from faceter.datasets import labelled_arrays
from faceter.datasets.features import FeaturesDataset
from faceter.datasets.kinds import open_inputs, verify_dataset
from tests.datasets.archives import npz

SETTINGS = Settings(_env_file=None)
FEATURES = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
LABELS = np.arange(20) % 3
NAMES = ["cat", "dog", "owl"]


def opened(path: Path, **arrays: Any) -> FeaturesDataset:
    return FeaturesDataset.open(npz(path, **{"features": FEATURES, **arrays}), SETTINGS)


def refused(path: Path, **arrays: Any) -> str:
    with pytest.raises(FaceterError) as caught:
        verify_dataset(npz(path, **arrays), DatasetKind.FEATURES, SETTINGS)
    assert caught.value.kind is ProblemKind.INVALID_DATASET
    return caught.value.detail


def test_what_it_holds(tmp_path: Path) -> None:
    path = npz(tmp_path, features=FEATURES, labels=LABELS, classes=np.array(NAMES), extra=np.zeros(1))
    fractions: list[float] = []
    summary = verify_dataset(path, DatasetKind.FEATURES, SETTINGS, fractions.append)
    assert summary.samples == 20
    assert summary.class_counts == {"cat": 7, "dog": 7, "owl": 6}
    assert summary.warnings == ["ignored, unknown: 'extra'"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("block", [1, 100, 10**6])
def test_all_rows_in_order_in_their_own_precision(
    tmp_path: Path, dtype: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labelled_arrays, "_BLOCK_BYTES", block)
    saved = FEATURES.astype(dtype)
    with opened(tmp_path, features=saved) as data:
        assert (len(data), data.width, data.labels) == (20, 7, None)
        parts = list(data.blocks())
        assert data.dtype == saved.dtype.newbyteorder("=")
    assert {part.dtype for part in parts} == {data.dtype}
    np.testing.assert_array_equal(np.concatenate(parts), saved)


def test_float64_may_be_larger_than_float32_holds(tmp_path: Path) -> None:
    with opened(tmp_path, features=FEATURES.astype(np.float64) * 1e300) as data:
        assert data.verify().samples == 20


def with_value(value: float) -> Any:
    changed = FEATURES.copy()
    changed[13, 4] = value
    return changed


BAD: dict[str, tuple[Mapping[str, Any], str]] = {
    "no features": ({"x": FEATURES}, "no array 'features', only 'x'"),
    "maps": ({"features": FEATURES[:, :, None, None]}, "[N, D], a row for each sample; it is [20, 7, 1, 1]"),
    "one row": ({"features": FEATURES[0]}, "it is [7]"),
    "whole numbers": ({"features": FEATURES.astype(np.int32)}, "it is int32. Save it as features.astype('float32')"),
    "empty": ({"features": FEATURES[:0]}, "empty: [0, 7]"),
    "no width": ({"features": FEATURES[:, :0]}, "empty: [20, 0]"),
    "Fortran": ({"features": np.asfortranarray(FEATURES)}, "ascontiguousarray(features)"),
    "NaN": ({"features": with_value(math.nan)}, "features[13, 4] is nan; every value must be finite"),
    "infinite": ({"features": with_value(-math.inf)}, "features[13, 4] is -inf"),
    "objects": ({"features": np.array([[None]])}, "'features' holds Python objects"),
    "too few labels": ({"features": FEATURES, "labels": LABELS[1:]}, "one whole number for each row of features"),
    "unnamed": ({"features": FEATURES, "labels": LABELS, "classes": np.array(NAMES[:2])}, "'classes' names 0 to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_invalid_arrays_are_named(tmp_path: Path, case: str) -> None:
    arrays, words = BAD[case]
    assert words in refused(tmp_path, **arrays)


def test_the_row_is_named_in_whatever_block_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_arrays, "_BLOCK_BYTES", 3 * 7 * 4)
    assert "features[13, 4] is nan" in refused(tmp_path, features=with_value(math.nan))


def test_rows_have_a_most_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_ROW_BYTES", 27)
    assert "One row has 7 values of 4 bytes; at most 27" in refused(tmp_path, features=FEATURES)


def test_they_are_no_inputs_of_a_model(tmp_path: Path) -> None:
    path = npz(tmp_path, features=FEATURES)
    with FeaturesDataset.open(path, SETTINGS) as data:
        assert data.width == 7
    with pytest.raises(FaceterError, match="no inputs of a model") as caught:
        open_inputs(path, DatasetKind.FEATURES, SETTINGS)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH

"""Datasets of kind ``tensors``: one array for each input of a model."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.settings import Settings
from faceter.datasets.tensors import TensorsDataset, tensors_file

SETTINGS = Settings()
ARRAYS: dict[str, np.ndarray] = {
    "wave": np.random.default_rng(0).normal(size=(20, 2, 7)).astype(np.float32),
    "length": np.arange(20, dtype=np.int64),
    "bytes": np.random.default_rng(1).integers(0, 256, (20, 5)).astype(np.uint8),
}
INPUTS = [
    TensorSpec(name="wave", dtype="float32", shape=["N", 2, "time"]),
    TensorSpec(name="length", dtype="int64", shape=["N"]),
    TensorSpec(name="bytes", dtype="int32", shape=["N", 5]),
]

Opened = Callable[..., TensorsDataset]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def open_file(content: bytes | None = None, **arrays: Any) -> TensorsDataset:
        path = tmp_path / "dataset.npz"
        if content is None:
            file = BytesIO()
            np.savez(file, **(arrays or ARRAYS))
            content = file.getvalue()
        path.write_bytes(content)
        return TensorsDataset.open(path, SETTINGS)

    return open_file


def test_samples_are_read_by_input_in_any_order(opened: Opened) -> None:
    with opened() as data:
        assert data.verify().samples == len(data) == 20
        assert data.shapes == {"bytes": (5,), "length": (), "wave": (2, 7)}
        indices = [3, 17, 4, 0, 19, 19, 8]
        batches = list(data.batches(3, indices))
    assert [rows.tolist() for _, rows in batches] == [[3, 17, 4], [0, 19, 19], [8]]
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(np.concatenate([arrays[name] for arrays, _ in batches]), values[indices])


def test_labels_follow_the_models(opened: Opened) -> None:
    content = tensors_file(ARRAYS, labels=[0, 1] * 10, classes=["wake", "sleep"])
    assert content == tensors_file(ARRAYS, labels=[0, 1] * 10, classes=["wake", "sleep"])
    with opened(content) as data:
        summary = data.verify()
        labels = data.sample_labels(["sleep", "wake"])
    assert summary.class_counts == {"wake": 10, "sleep": 10}
    assert labels is not None
    assert labels.tolist() == [1, 0] * 10


def test_inputs_of_a_model_that_fit(opened: Opened) -> None:
    with opened() as data:
        assert data.matching_inputs(INPUTS) == INPUTS


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (INPUTS[:2], "arrays of no input, 'bytes'"),
        ([*INPUTS, TensorSpec(name="mask", dtype="int64", shape=["N", 5])], "no array for 'mask'"),
        ([TensorSpec(name="wave", dtype="float32", shape=["N", 3, 7]), *INPUTS[1:]], "'wave' is"),
        ([TensorSpec(name="wave", dtype="float32", shape=["N", 2]), *INPUTS[1:]], "'wave' is"),
        (
            [TensorSpec(name="wave", dtype="int64", shape=["N", 2, 7]), *INPUTS[1:]],
            "takes int64; the array holds float32",
        ),
    ],
)
def test_inputs_of_a_model_that_do_not_fit(opened: Opened, inputs: list[TensorSpec], words: str) -> None:
    with opened() as data, pytest.raises(FaceterError, match=words) as raised:
        data.matching_inputs(inputs)
    assert raised.value.kind is ProblemKind.DATASET_MISMATCH


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"labels": np.zeros(3, np.int64)}, "no arrays of samples"),
        ({"a": np.zeros((3, 2)), "b": np.zeros((4, 2))}, "a row in every array"),
        ({"a": np.zeros((0, 2))}, "at least one sample"),
        ({"a": np.array(1.0)}, r"must be \[N, …\]"),
        ({"a": np.array(["x", "y"])}, "must hold floats"),
        ({"a": np.asfortranarray(np.zeros((3, 4)))}, "Fortran"),
        ({"a": np.zeros((1, (1 << 26) // 8 + 1))}, "more than 67,108,864 bytes"),
    ],
)
def test_files_of_another_form_name_the_array(opened: Opened, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(FaceterError, match=words) as raised:
        opened(**arrays)
    assert raised.value.kind is ProblemKind.INVALID_DATASET


def test_a_value_that_is_not_finite_is_named(opened: Opened) -> None:
    broken = ARRAYS["wave"].copy()
    broken[11, 1, 4] = np.nan
    with opened(**{**ARRAYS, "wave": broken}) as data, pytest.raises(FaceterError, match=r"wave\[11, 1, 4\]"):
        data.verify()

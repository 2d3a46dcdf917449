"""Signals are read row by row, with their classes and concepts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.datasets import labelled_arrays
from faceter.datasets.accuracy import validate_classes
from faceter.datasets.archive import SafeArchive
from faceter.datasets.kinds import verify_dataset
from faceter.datasets.signals import SignalsDataset, signals_file
from tests.datasets.archives import npz, write_zip
from tests.datasets.signals import LABELS, NAMES, SETTINGS, SIGNALS, npy, opened, refused


@pytest.mark.parametrize("compressed", [True, False])
def test_what_it_holds(tmp_path: Path, compressed: bool) -> None:
    path = npz(tmp_path, compressed=compressed, signals=SIGNALS, labels=LABELS, classes=np.array(NAMES))
    fractions: list[float] = []
    summary = verify_dataset(path, DatasetKind.SIGNALS, SETTINGS, fractions.append)
    assert summary.samples == 20
    assert summary.classes == NAMES
    assert summary.class_counts == {"slow": 7, "normal": 7, "fast": 6}
    assert summary.warnings == []
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_signals_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as data:
        assert len(data) == 20
        assert data.shape == (2, 30)
        assert data.labels_for(NAMES) is None
        assert data.concepts(0) is None
        summary = data.verify()
    assert (summary.classes, summary.class_counts) == ([], {})


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    with opened(tmp_path, labels=np.array([2, 0] * 10, np.uint8)) as data:
        assert data.classes == ["0", "1", "2"]
        assert data.summary().class_counts == {"0": 10, "1": 0, "2": 10}
        assert data.labels_for(["a", "b", "c"]) == [2, 0] * 10
        assert data.labels_for(["a", "b", "c", "d"]) == [2, 0] * 10
        with pytest.raises(FaceterError, match=r"'2'.*0 to 1") as caught:
            data.labels_for(["a", "b"])
        assert caught.value.kind is ProblemKind.DATASET_MISMATCH


def test_named_classes_take_the_models_order(tmp_path: Path) -> None:
    with opened(tmp_path, labels=LABELS, classes=np.array(NAMES)) as data:
        assert data.labels_for(None) == LABELS.tolist()
        assert data.labels_for(["fast", "other", "slow", "normal"])[:3] == [2, 3, 0]  # type: ignore[index]
        with pytest.raises(FaceterError, match="'normal', 'fast'"):
            data.labels_for(["slow", "Normal"])
    with opened(tmp_path, labels=LABELS % 2, classes=np.array(NAMES)) as data:
        assert data.labels_for(["normal", "slow"])[:2] == [1, 0], "no signal is of the class it lacks"  # type: ignore[index]


@pytest.mark.parametrize(
    ("named", "count", "fits"), [(True, 3, True), (True, 4, False), (False, 4, True), (False, 2, False)]
)
def test_how_many_classes_there_may_be(tmp_path: Path, named: bool, count: int, fits: bool) -> None:
    extra = {"classes": np.array(NAMES)} if named else {}
    with opened(tmp_path, labels=LABELS, **extra) as data:
        if fits:
            validate_classes(data, None, count)
            return
        with pytest.raises(FaceterError, match=f"3 classes and the model {count}") as caught:
            validate_classes(data, None, count)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_batches_are_float32_in_the_order_of_the_file(tmp_path: Path, dtype: str) -> None:
    saved = SIGNALS.astype(dtype)
    with opened(tmp_path, signals=saved, labels=LABELS) as data:
        batches = list(data.batches(8))
    assert [len(batch.inputs) for batch in batches] == [8, 8, 4]
    assert all(batch.inputs.dtype == np.dtype("=f4") for batch in batches)
    np.testing.assert_array_equal(np.concatenate([batch.inputs for batch in batches]), saved.astype(np.float32))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    np.testing.assert_array_equal(np.concatenate(labels), LABELS)


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("two")
    stored = npz(folder, compressed=False, signals=SIGNALS).rename(folder / "stored.npz")
    return [stored, npz(folder, signals=SIGNALS)]


@given(indices=st.lists(st.integers(0, 19), max_size=30), batch=st.integers(1, 9))
def test_any_indices_in_their_order(two_files: list[Path], indices: list[int], batch: int) -> None:
    for path in two_files:
        with SignalsDataset.open(path, SETTINGS) as data:
            batches = list(data.batches(batch, indices=indices))
        assert [index for part in batches for index in part.indices] == indices
        assert all(len(part.inputs) == batch for part in batches[:-1])
        for part in batches:
            np.testing.assert_array_equal(part.inputs, SIGNALS[part.indices])


def test_rising_indices_read_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []
    stream = SafeArchive.stream

    def counted(self: SafeArchive, name: str, *, max_bytes: int) -> Any:
        starts.append(name)
        return stream(self, name, max_bytes=max_bytes)

    with opened(tmp_path) as data:
        monkeypatch.setattr(SafeArchive, "stream", counted)
        list(data.batches(3, indices=[0, 4, 4, 6, 9, 10, 19]))
        assert starts == ["signals.npy"]
        list(data.batches(2, indices=[19, 18, 0]))
        assert starts == ["signals.npy"] * 3


def test_blocks_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_arrays, "_BLOCK_BYTES", 500)
    wrong = SIGNALS.copy()
    wrong[17, 1, 3] = np.inf
    assert verify_dataset(npz(tmp_path, signals=SIGNALS), DatasetKind.SIGNALS, SETTINGS).samples == 20
    assert "signals[17, 1, 3] is inf" in refused(tmp_path, signals=wrong)


def test_concepts(tmp_path: Path) -> None:
    concepts = np.zeros((20, 30), np.int16)
    concepts[7, 10:13] = 2
    names = np.array(["wave", "peak"])
    with opened(tmp_path, concepts=concepts, concept_names=names) as data:
        data.verify()
        assert data.concept_names == ["wave", "peak"]
        assert data.most_concepts == 1
        np.testing.assert_array_equal(data.concepts(7), concepts[7:8])
    arrays: dict[str, Any] = {"signals": SIGNALS, "concepts": concepts}
    assert "needs 'concept_names'" in refused(tmp_path, **arrays)
    assert "concepts[7, 10] is 2, but 'concept_names' allow 0 to 1" in refused(
        tmp_path, **arrays, concept_names=names[:1]
    )
    assert "[20, 30]; it is [20, 29]" in refused(
        tmp_path, signals=SIGNALS, concepts=concepts[:, 1:], concept_names=names
    )
    assert "it is float64" in refused(tmp_path, signals=SIGNALS, concepts=concepts * 1.0, concept_names=names)


def test_several_concepts_at_once(tmp_path: Path) -> None:
    concepts = np.random.default_rng(0).integers(0, 3, (20, 4, 30))
    names = np.array(["wave", "noise"])
    with opened(tmp_path, concepts=concepts, concept_names=names) as data:
        data.verify()
        assert data.most_concepts == 4
        np.testing.assert_array_equal(data.concepts(11), concepts[11])
        np.testing.assert_array_equal(data.all_concepts(), concepts)
    concepts[3, 2, 9] = 3
    assert "concepts[3, 2, 9] is 3" in refused(tmp_path, signals=SIGNALS, concepts=concepts, concept_names=names)
    assert "[20, 4, 30]; it is [20, 4, 29]" in refused(
        tmp_path, signals=SIGNALS, concepts=concepts[..., 1:], concept_names=names
    )


def test_what_is_not_known_is_noted(tmp_path: Path) -> None:
    with opened(tmp_path, rate=np.array(100), concept_names=np.array(["a"]), classes=np.array(["b"])) as data:
        warnings = " ".join(data.verify().warnings)
    assert "unknown: 'rate'" in warnings
    assert "no 'concepts': 'concept_names'" in warnings
    assert "no 'labels': 'classes'" in warnings
    path = write_zip(tmp_path / "b.npz", {"signals.npy": npy(SIGNALS), "notes.txt": b"x", "o.npy": b"y", ".a": b""})
    warnings = " ".join(verify_dataset(path, DatasetKind.SIGNALS, SETTINGS).warnings)
    assert "'o', 'notes.txt'" in warnings
    assert "hidden files (1)" in warnings


def spec(*shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name="signal", dtype=dtype, shape=list(shape))


@pytest.mark.parametrize("takes", [spec("N", 2, 30), spec(4, 2, 30), spec("N", None, "L", dtype="float16")])
def test_the_input_it_fits(tmp_path: Path, takes: TensorSpec) -> None:
    with opened(tmp_path) as data:
        assert data.matching_input([takes]) is takes


@pytest.mark.parametrize(
    "takes",
    [
        [spec("N", 2, 31)],
        [spec("N", 1, 30)],
        [spec("N", 2, 30, dtype="int64")],
        [spec("N", 2, 30, dtype="str")],
        [spec("N", 2, 30, 1)],
        [spec()],
        [spec("N", 2, 30), spec("N", 2, 30)],
    ],
)
def test_inputs_it_does_not_fit(tmp_path: Path, takes: list[TensorSpec]) -> None:
    with opened(tmp_path) as data, pytest.raises(FaceterError) as caught:
        data.matching_input(takes)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert "[2, 30]" in caught.value.detail
    shown = ", ".join("?" if size is None else str(size) for size in takes[0].shape)
    assert f"'signal' {takes[0].dtype} [{shown}]" in caught.value.detail


def test_a_file_that_is_written_here_is_read_back_and_equal_each_time(tmp_path: Path) -> None:
    content = signals_file(SIGNALS, LABELS, NAMES)
    assert content == signals_file(SIGNALS.astype(np.float64), LABELS.tolist(), NAMES)
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with SignalsDataset.open(path, SETTINGS) as data:
        assert data.verify().class_counts == {"slow": 7, "normal": 7, "fast": 6}
        (batch,) = data.batches(50)
    np.testing.assert_array_equal(batch.inputs, SIGNALS)

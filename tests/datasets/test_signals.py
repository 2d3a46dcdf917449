"""Datasets of signals: read as they were saved, by rows, and refused in words that name what is wrong."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.settings import Settings
from faceter.datasets import array_dataset, labels
from faceter.datasets import signals as module
from faceter.datasets.archive import SafeArchive
from faceter.datasets.grading import check_classes
from faceter.datasets.kinds import check, open_dataset
from faceter.datasets.signals import SignalsDataset, signals_file
from tests.datasets.archives import npz, write_zip, zip_bytes

SETTINGS = Settings(_env_file=None)
SIGNALS = np.random.default_rng(0).normal(size=(20, 2, 30)).astype(np.float32)
LABELS = np.arange(20) % 3
NAMES = ["slow", "normal", "fast"]


def opened(path: Path, **arrays: Any) -> SignalsDataset:
    return SignalsDataset.open(npz(path, **{"signals": SIGNALS, **arrays}), SETTINGS)


def refused(
    path: Path, kind: ProblemKind = ProblemKind.INVALID_DATASET, settings: Settings = SETTINGS, **arrays: Any
) -> str:
    return refused_file(npz(path, **arrays), kind, settings)


def refused_file(path: Path, kind: ProblemKind = ProblemKind.INVALID_DATASET, settings: Settings = SETTINGS) -> str:
    with pytest.raises(FaceterError) as caught:
        check(path, DatasetKind.SIGNALS, settings)
    assert caught.value.kind is kind, caught.value.detail
    return caught.value.detail


def npy(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def header(dtype: str, shape: str, fortran: str = "False") -> bytes:
    """Return a member that is a header alone, whatever it says."""
    text = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize("compressed", [True, False])
def test_what_it_holds(tmp_path: Path, compressed: bool) -> None:
    path = npz(tmp_path, compressed=compressed, signals=SIGNALS, labels=LABELS, classes=np.array(NAMES))
    told: list[float] = []
    summary = check(path, DatasetKind.SIGNALS, SETTINGS, told.append)
    assert summary.samples == 20
    assert summary.classes == NAMES
    assert summary.class_counts == {"slow": 7, "normal": 7, "fast": 6}
    assert summary.notes == []
    assert told == sorted(told)
    assert told[-1] == 1.0


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
            check_classes(data, None, count)
            return
        with pytest.raises(FaceterError, match=f"3 classes and the model {count}") as caught:
            check_classes(data, None, count)
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
    monkeypatch.setattr(array_dataset, "_BLOCK_BYTES", 500)
    wrong = SIGNALS.copy()
    wrong[17, 1, 3] = np.inf
    assert check(npz(tmp_path, signals=SIGNALS), DatasetKind.SIGNALS, SETTINGS).samples == 20
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
        notes = " ".join(data.verify().notes)
    assert "not known: 'rate'" in notes
    assert "no 'concepts': 'concept_names'" in notes
    assert "no 'labels': 'classes'" in notes
    path = write_zip(tmp_path / "b.npz", {"signals.npy": npy(SIGNALS), "notes.txt": b"x", "o.npy": b"y", ".a": b""})
    notes = " ".join(check(path, DatasetKind.SIGNALS, SETTINGS).notes)
    assert "'o', 'notes.txt'" in notes
    assert "hidden files (1)" in notes


def with_value(value: float) -> NDArray[np.float64]:
    changed = SIGNALS.astype(np.float64)
    changed[3, 1, 29] = value
    return changed


BAD: dict[str, tuple[Mapping[str, Any], str]] = {
    "no signals": ({"x": SIGNALS}, "no array 'signals', only 'x'"),
    "rank": ({"signals": SIGNALS[:, 0]}, "[N, channels, length]; it is [20, 30]"),
    "whole numbers": ({"signals": SIGNALS.astype(np.int16)}, "it is int16. Save it as signals.astype('float32')"),
    "complex": ({"signals": SIGNALS.astype(np.complex64)}, "it is complex64"),
    "long": ({"signals": SIGNALS.astype(np.longdouble)}, "must be float16, float32 or float64"),
    "empty": ({"signals": SIGNALS[:0]}, "empty: [0, 2, 30]"),
    "no length": ({"signals": SIGNALS[:, :, :0]}, "empty: [20, 2, 0]"),
    "Fortran": ({"signals": np.asfortranarray(SIGNALS)}, "ascontiguousarray(signals)"),
    "NaN": ({"signals": with_value(np.nan)}, "signals[3, 1, 29] is nan"),
    "infinite": ({"signals": with_value(-np.inf)}, "signals[3, 1, 29] is -inf"),
    "too large": ({"signals": with_value(1e300)}, "signals[3, 1, 29] is 1e+300, beyond float32"),
    "too few labels": ({"signals": SIGNALS, "labels": LABELS[1:]}, "'labels' must be one whole number"),
    "labels of rank 2": ({"signals": SIGNALS, "labels": LABELS[:, None]}, "[20]; it is [20, 1]"),
    "labels of floats": ({"signals": SIGNALS, "labels": LABELS * 1.0}, "it is float64"),
    "labels of bools": ({"signals": SIGNALS, "labels": LABELS > 1}, "it is bool"),
    "labels of text": ({"signals": SIGNALS, "labels": LABELS.astype(str)}, "'labels' must be one whole number"),
    "negative": ({"signals": SIGNALS, "labels": LABELS - 1}, "labels[0] is -1"),
    "endless": ({"signals": SIGNALS, "labels": LABELS * 10**12}, "labels[1] is 1000000000000, but labels are 0 to"),
    "unnamed": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array(NAMES[:2])}, "'classes' names 0 to 1"),
    "twice": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array(["a", "b", "a"])}, "names 'a' twice"),
    "nameless": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array(["a", "", "b"])}, "classes[1]"),
    "unseen": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array(["a", "b\n b", "c"])}, "classes[1]"),
    "half a pair": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array(["a", "b", "\ud800"])}, "classes[2]"),
    "not UTF-8": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array([b"a", b"\xff", b"c"])}, "classes[1]"),
    "no names": ({"signals": SIGNALS, "labels": LABELS, "classes": np.array([], "U3")}, "holds 0 names"),
    "names as numbers": ({"signals": SIGNALS, "labels": LABELS, "classes": np.arange(3)}, "must be a list of text"),
    "names in rows": ({"signals": SIGNALS, "classes": np.array([NAMES])}, "must be a list of text, [K]"),
    "objects": ({"signals": SIGNALS, "labels": LABELS.astype(object)}, "'labels' holds Python objects"),
    "object signals": ({"signals": np.array([[[None]]])}, "'signals' holds Python objects"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(tmp_path: Path, case: str) -> None:
    arrays, words = BAD[case]
    assert words in refused(tmp_path, **arrays)


LIES = {
    "no array": b"not an array",
    "nothing": b"",
    "magic alone": b"\x93NUMPY",
    "cut header": header("'<f4'", "(2, 1, 4)")[:20],
    "future version": b"\x93NUMPY\x09\x00" + b"\x00" * 100,
    "code": header("__import__('os').getcwd()", "(2, 1, 4)"),
    "deep": b"\x93NUMPY\x01\x00\x70\x17" + b"(" * 6000,
    "no type": header("'nonsense'", "(2, 1, 4)"),
    "no shape": header("'<f4'", "2"),
    "less than it says": header("'<f4'", "(2, 1, 4)") + b"\x00" * 8,
    "more than it says": header("'<f4'", "(2, 1, 4)") + b"\x00" * 36,
    "far more": header("'<f4'", "(1000000000000, 1000000000000, 1000000000000)"),
    "negative": header("'<f4'", "(-1, 1, -1)") + b"\x00" * 4,
    "no bytes each": header("'<U0'", "(1000000000, 1, 1)"),
    "truth for a number": header("'<f4'", "(True, 1, 4)", "1") + b"\x00" * 16,
}


@pytest.mark.parametrize("case", LIES)
def test_headers_that_lie(tmp_path: Path, case: str) -> None:
    path = write_zip(tmp_path / "a.npz", {"signals.npy": LIES[case]})
    assert "signals" in refused_file(path)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("unpickled",))

    bomb = np.empty(20, object)
    bomb[:] = [Bomb()] * 20
    for name in ("signals", "labels", "classes"):
        arrays: dict[str, Any] = {"signals": SIGNALS, "labels": LABELS, name: bomb}
        path = npz(tmp_path, **arrays)
        assert f"'{name}' holds Python objects" in refused_file(path)


def test_no_npz_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content, words in [
        (b"", "empty"),
        (b"hello", "not an .npz"),
        (npy(SIGNALS), "single array (.npy)"),
        (zip_bytes({"a.txt": b"x"}), "only other files"),
    ]:
        path.write_bytes(content)
        assert words in refused_file(path)
    path.write_bytes(b"PK" + b"\x00" * 100)
    refused_file(path, ProblemKind.INVALID_ARCHIVE)
    path.write_bytes(zip_bytes({"../signals.npy": npy(SIGNALS)}))
    refused_file(path, ProblemKind.UNSAFE_ARCHIVE)


@pytest.mark.parametrize("compressed", [True, False])
def test_damage_is_found_wherever_it_is(tmp_path: Path, compressed: bool) -> None:
    path = npz(tmp_path, compressed=compressed, signals=SIGNALS)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("signals.npy").compress_size
    for share in (0.2, 0.5, 0.99):
        place = 60 + int(share * (size - 1))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(FaceterError) as caught:
            check(path, DatasetKind.SIGNALS, SETTINGS)
        assert caught.value.kind in (
            ProblemKind.INVALID_ARCHIVE,
            ProblemKind.INVALID_DATASET,
            ProblemKind.UNSAFE_ARCHIVE,
        )
    path.write_bytes(whole[:-200])
    refused_file(path, ProblemKind.INVALID_ARCHIVE)


def test_too_much(tmp_path: Path) -> None:
    zeros = np.zeros((1000, 1, 1000), np.float32)
    small = SETTINGS.model_copy(update={"max_unpacked_bytes": 10**6, "max_archive_entries": 2})
    assert "4,000,128 bytes" in refused(tmp_path, ProblemKind.ARCHIVE_TOO_LARGE, small, signals=zeros)
    refused(tmp_path, ProblemKind.ARCHIVE_TOO_LARGE, small, signals=SIGNALS, a=LABELS, b=LABELS)


def test_a_bomb_goes_off_nowhere(tmp_path: Path) -> None:
    """A member that says it is small and inflates to much more is read no further than it said."""
    content = bytearray(zip_bytes({"signals.npy": npy(np.zeros((1000, 1, 1000), np.float32))}))
    said = len(npy(np.zeros((10, 1, 10), np.float32)))
    for start in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content[start : start + 4] = said.to_bytes(4, "little")
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(FaceterError) as caught:
        check(path, DatasetKind.SIGNALS, SETTINGS)
    assert caught.value.kind in (ProblemKind.UNSAFE_ARCHIVE, ProblemKind.INVALID_DATASET)


@pytest.mark.parametrize("limit", ["_MAX_LABEL_BYTES", "_MAX_NAME_BYTES", "_MAX_SIGNAL_BYTES"])
def test_what_is_held_in_memory_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    path = npz(tmp_path, signals=SIGNALS, labels=LABELS, classes=np.array(NAMES))
    monkeypatch.setattr(module if limit == "_MAX_SIGNAL_BYTES" else labels, limit, 20)
    with pytest.raises(FaceterError, match="at most 20"):
        check(path, DatasetKind.SIGNALS, SETTINGS)


def spec(*shape: int | str | None, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name="signal", dtype=dtype, shape=list(shape))


@pytest.mark.parametrize("takes", [spec("N", 2, 30), spec(4, 2, 30), spec("N", None, "L", dtype="float16")])
def test_the_input_it_fits(tmp_path: Path, takes: TensorSpec) -> None:
    with opened(tmp_path) as data:
        assert data.input_of([takes]) is takes


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
        data.input_of(takes)
    assert caught.value.kind is ProblemKind.DATASET_MISMATCH
    assert "[2, 30]" in caught.value.detail
    shown = ", ".join("?" if size is None else str(size) for size in takes[0].shape)
    assert f"'signal' {takes[0].dtype} [{shown}]" in caught.value.detail


def test_a_file_that_is_written_here_is_read_back_and_equal_each_time(tmp_path: Path) -> None:
    content = signals_file(SIGNALS, LABELS, NAMES)
    assert content == signals_file(SIGNALS.astype(np.float64), LABELS.tolist(), NAMES)
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with open_dataset(path, DatasetKind.SIGNALS, SETTINGS) as data:
        assert data.verify().class_counts == {"slow": 7, "normal": 7, "fast": 6}
        (batch,) = data.batches(50)
    np.testing.assert_array_equal(batch.inputs, SIGNALS)

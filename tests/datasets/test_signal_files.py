"""Invalid and hostile files of signals are refused, naming what is wrong."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets import labels
from faceter.datasets import signals as module
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import npz, write_zip, zip_bytes
from tests.datasets.signals import LABELS, NAMES, SETTINGS, SIGNALS, npy, refused, refused_file


def header(dtype: str, shape: str, fortran: str = "False") -> bytes:
    """Return a member that is a header alone, whatever it says."""
    text = f"{{'descr': {dtype}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


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
def test_invalid_arrays_are_named(tmp_path: Path, case: str) -> None:
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
def test_inconsistent_headers(tmp_path: Path, case: str) -> None:
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
            verify_dataset(path, DatasetKind.SIGNALS, SETTINGS)
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
        verify_dataset(path, DatasetKind.SIGNALS, SETTINGS)
    assert caught.value.kind in (ProblemKind.UNSAFE_ARCHIVE, ProblemKind.INVALID_DATASET)


@pytest.mark.parametrize("limit", ["_MAX_LABEL_BYTES", "_MAX_NAME_BYTES", "_MAX_SIGNAL_BYTES"])
def test_what_is_held_in_memory_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    path = npz(tmp_path, signals=SIGNALS, labels=LABELS, classes=np.array(NAMES))
    monkeypatch.setattr(module if limit == "_MAX_SIGNAL_BYTES" else labels, limit, 20)
    with pytest.raises(FaceterError, match="at most 20"):
        verify_dataset(path, DatasetKind.SIGNALS, SETTINGS)

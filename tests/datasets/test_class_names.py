"""Files that name numbered classes."""

from pathlib import Path

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import open_archive
from faceter.datasets.class_names import read_class_names
from tests.datasets.archives import write_zip

SETTINGS = Settings(_env_file=None)


def names_of(path: Path, members: dict[str, bytes]) -> tuple[str, list[str]] | None:
    with open_archive(write_zip(path / "a.zip", members), SETTINGS) as archive:
        return read_class_names(archive, archive.names)


def refused(path: Path, members: dict[str, bytes]) -> str:
    with pytest.raises(FaceterError) as caught:
        names_of(path, members)
    assert caught.value.kind is ProblemKind.INVALID_DATASET
    return caught.value.detail


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("classes.txt", b"cat\nno\ncaf\xc3\xa9\n"),
        ("set/labels/classes.txt", b"\xef\xbb\xbfcat\r\n no \r\ncafe\xcc\x81"),
        ("data/obj.names", "cat\nno\ncafé\n\n".encode("utf-16")),
        ("data.yaml", "train: ../train/images\nnc: 3\nnames: ['cat', no, 'café']\n".encode()),
        ("set/data.yml", "names:\n  0: cat\n  1: no\n  2: café\n".encode()),
        ("data.yaml", "names:\n- cat\n- no\n- cafe\u0301\n".encode()),
    ],
)
def test_names_are_read(tmp_path: Path, file: str, content: bytes) -> None:
    assert names_of(tmp_path, {file: content, "notes.txt": b"x"}) == (file, ["cat", "no", "café"])


def test_without_such_a_file_there_are_none(tmp_path: Path) -> None:
    assert names_of(tmp_path, {"notes.txt": b"x", "other.yaml": b"a: 1\n"}) is None


def test_the_outermost_counts_and_a_document_before_lists(tmp_path: Path) -> None:
    members = {"a/classes.txt": b"x\n", "classes.txt": b"cat\ndog\n", "a/b/data.yaml": b"path: x\n"}
    assert names_of(tmp_path, members) == ("classes.txt", ["cat", "dog"])
    assert names_of(tmp_path, {**members, "data.yaml": b"names: [emu]\n"}) == ("data.yaml", ["emu"])


def test_several_that_differ_are_refused(tmp_path: Path) -> None:
    members = {"train/classes.txt": b"cat\ndog\n", "val/classes.txt": b"cat\ndog\n"}
    assert names_of(tmp_path, members) == ("train/classes.txt", ["cat", "dog"])
    members["val/classes.txt"] = b"dog\ncat\n"
    assert "named differently in 'train/classes.txt', 'val/classes.txt'. Leave one" in refused(tmp_path, members)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("classes.txt", b"\n \n", "classes.txt names 0 classes"),
        ("classes.txt", b"cat\ndog\ncat\n", "classes.txt names 'cat' twice"),
        ("classes.txt", b"cat\na\x01b\n", "the name of class 1 is not one of 1 to 200 printable characters"),
        ("classes.txt", b"caf\xe9\n", "line 1 is not UTF-8 text"),
        ("data.yaml", b"names: [a, [b]]\n", "'names' must list the names of the classes"),
        ("data.yaml", b"names: cat\n", "'names' must list the names of the classes"),
        ("data.yaml", b"names: {cat: 0, dog: 1}\n", "the keys of 'names' must be the numbers of the classes"),
        ("data.yaml", b"names: {1: cat, 2: dog}\n", "must number the classes from 0 without gaps"),
        ("data.yaml", b"names: [cat\nnc: 1\n", "data.yaml is not YAML at line 2"),
        ("data.yaml", b"names: \x00\n", "data.yaml is not YAML"),
        ("data.yaml", b"[" * 5000, "data.yaml is not YAML that can be read"),
        ("data.yaml", b"a: &a [*a]\nnames: [cat]\n", "data.yaml is not YAML"),
    ],
)
def test_bad_names_are_refused(tmp_path: Path, file: str, content: bytes, words: str) -> None:
    assert words in refused(tmp_path, {file: content})


def test_a_document_that_repeats_itself_is_read_without_growing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    merged = ["m0: &m0 {k: v}"]
    merged += [f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 10)}]}}" for level in range(1, 12)]
    document = "\n".join([*lines, *merged, "names: [cat, dog]", ""])
    assert names_of(tmp_path, {"data.yaml": document.encode()}) == ("data.yaml", ["cat", "dog"])


def test_a_document_runs_no_code(tmp_path: Path) -> None:
    target = tmp_path / "made"
    names_of(tmp_path, {"data.yaml": f"x: !!python/object/apply:os.mkdir ['{target}']\nnames: [cat]\n".encode()})
    assert not target.exists()

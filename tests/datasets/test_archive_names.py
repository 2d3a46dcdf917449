"""Names of members as programs write them: encodings, separators, and what file managers leave behind."""

import unicodedata
import zipfile
import zlib
from pathlib import Path
from typing import Final, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceter.contracts.datasets import DatasetKind
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.settings import Settings
from faceter.datasets.archive import SafeArchive
from faceter.datasets.kinds import verify_dataset
from tests.datasets.archives import image, raw_zip, unicode_path, zip_bytes

SETTINGS = Settings(_env_file=None)
FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")


def opened(path: Path, content: bytes) -> SafeArchive:
    file = path / "upload"
    file.write_bytes(content)
    return SafeArchive(file, max_unpacked_bytes=1 << 20, max_entries=1000)


def names_of(path: Path, content: bytes) -> tuple[list[str], list[str]]:
    with opened(path, content) as archive:
        return archive.names, archive.warnings


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("flagged", [True, False])
def test_utf_8_is_read_with_and_without_its_flag(tmp_path: Path, form: Literal["NFC", "NFD"], flagged: bool) -> None:
    name = unicodedata.normalize(form, "café/été.png")
    content = zip_bytes({name: b"x"}) if flagged else raw_zip([(name.encode(), b"x", b"")])
    assert names_of(tmp_path, content) == (["café/été.png"], [])


def test_what_is_no_utf_8_is_cp437(tmp_path: Path) -> None:
    content = raw_zip([("café/1.png".encode("cp437"), b"x", b""), (b"plain/2.png", b"y", b"")])
    names, warnings = names_of(tmp_path, content)
    assert names == ["café/1.png", "plain/2.png"]
    assert warnings == ["names that state no encoding, read as CP437: 'café/1.png'"]


def test_a_stated_path_comes_first(tmp_path: Path) -> None:
    name = b"caf?/1.png"
    extra = b"\x55\x54\x01\x00z" + unicode_path(name, "cafe\u0301/1.png")
    assert names_of(tmp_path, raw_zip([(name, b"x", extra)])) == (["café/1.png"], [])


@pytest.mark.parametrize(
    "extra",
    [
        unicode_path(b"renamed.png", "other.png"),
        unicode_path(b"plain.png", "other.png").replace(b"\x01", b"\x02", 1),
        unicode_path(b"plain.png", "other.png").replace(b"other", b"\xff\xff\xff\xff\xff"),
        b"\x75\x70\x03\x00\x01ab",
    ],
    ids=["of another name", "of another version", "no UTF-8", "too short"],
)
def test_a_path_that_is_not_that_of_the_member_is_not_taken(tmp_path: Path, extra: bytes) -> None:
    assert names_of(tmp_path, raw_zip([(b"plain.png", b"x", extra)])) == (["plain.png"], [])


@pytest.mark.parametrize("path", ["../evil.png", "/evil.png", "a/../../evil.png", "..\\evil.png"])
def test_a_stated_path_is_checked_as_any_name(tmp_path: Path, path: str) -> None:
    with pytest.raises(FaceterError) as caught:
        opened(tmp_path, raw_zip([(b"good.png", b"x", unicode_path(b"good.png", path))]))
    assert caught.value.kind is ProblemKind.UNSAFE_ARCHIVE


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    content = raw_zip([(b"set\\cat\\1.png", b"x", b""), (b"set\\dog/2.png", b"y", b""), (b"set\\emu\\", b"", b"")])
    names, warnings = names_of(tmp_path, content)
    assert names == ["set/cat/1.png", "set/dog/2.png"]
    assert warnings == [
        "ignored, empty folders: 'set/emu/'",
        "names with backslashes, read as folders: 'set/cat/1.png', 'set/dog/2.png'",
    ]


def test_folders_are_no_files_whatever_their_names_end_with(tmp_path: Path) -> None:
    folder = zipfile.ZipInfo("cat")
    folder.external_attr = 0x10
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(folder, b"")
        archive.writestr("cat/1.png", b"x")
    assert names_of(tmp_path, (tmp_path / "a.zip").read_bytes()) == (["cat/1.png"], [])


def test_empty_folders_are_named(tmp_path: Path) -> None:
    content = zip_bytes({"a/": b"", "a/b/": b"", "c/": b"", "c/1.png": b"x", "__MACOSX/": b"", ".git/": b""})
    assert names_of(tmp_path, content) == (["c/1.png"], ["ignored, empty folders: 'a/b/'"])


def test_names_that_differ_in_case_alone_are_named(tmp_path: Path) -> None:
    content = zip_bytes({"A/Photo.png": b"x", "A/photo.png": b"y", "B/Straße": b"x", "B/STRASSE": b"x", "C/1": b"x"})
    names, warnings = names_of(tmp_path, content)
    assert len(names) == 5
    assert warnings == [
        "names that differ only in upper and lower case: 'A/Photo.png', 'A/photo.png', 'B/STRASSE', 'B/Straße'"
    ]


LEFTOVERS = {
    "__MACOSX/set/._1.png": "__MACOSX",
    "__MACOSX/._set": "__MACOSX",
    "set/.DS_Store": "hidden files",
    "set/cat/._1.png": "hidden files",
    ".Spotlight-V100/Store-V2/x": "hidden files",
    ".Trashes/501/1.png": "hidden files",
    "set/.ipynb_checkpoints/1-checkpoint.png": "hidden files",
    "set/cat/Thumbs.db": "Thumbs.db",
    "set/dog/THUMBS.DB": "THUMBS.DB",
    "set/ehthumbs.db": "ehthumbs.db",
    "set/Desktop.ini": "Desktop.ini",
    "desktop.ini": "desktop.ini",
    "set/Icon\r": "folder icons",
    "Icon\r": "folder icons",
    "__MACOSX/set/._Icon\r": "__MACOSX",
    "set/cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg": "@eaDir",
    "$RECYCLE.BIN/S-1-5/1.png": "$RECYCLE.BIN",
    "System Volume Information/1.png": "System Volume Information",
    "set/~$notes.docx": "~$notes.docx",
}


@pytest.mark.parametrize(("name", "what"), LEFTOVERS.items())
def test_leftovers_are_passed_over(tmp_path: Path, name: str, what: str) -> None:
    content = zip_bytes({"set/cat/1.png": b"x", name: b"leftover"})
    assert names_of(tmp_path, content) == (["set/cat/1.png"], [f"ignored: {what} (1)"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_mixture_of_leftovers_changes_what_is_read(tmp_path: Path, data: st.DataObject) -> None:
    prefix = data.draw(st.sampled_from(["", "set/", "a/b/"]))
    members = {f"{prefix}cat/1.PNG": image("red", (8, 8)), f"{prefix}dog/café.png": image("blue", (8, 8))}
    members |= dict.fromkeys(data.draw(st.lists(st.sampled_from([*LEFTOVERS]), unique=True)), b"leftover")
    members |= dict.fromkeys(data.draw(st.lists(st.sampled_from(["emu/", "__MACOSX/", "x/y/"]), unique=True)), b"")
    names = data.draw(st.permutations([*members]))
    form = data.draw(st.sampled_from(FORMS))
    slash = data.draw(st.sampled_from(["/", "\\"]))
    content = zip_bytes({unicodedata.normalize(form, name).replace("/", slash): members[name] for name in names})
    file = tmp_path / "a.zip"
    file.write_bytes(content)
    summary = verify_dataset(file, DatasetKind.IMAGES, SETTINGS)
    assert (summary.samples, summary.class_counts) == (2, {"cat": 1, "dog": 1})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(min_size=4, max_size=12), min_size=1, max_size=4), st.binary(max_size=20))
def test_any_bytes_are_a_name_or_a_problem(tmp_path: Path, names: list[bytes], extra: bytes) -> None:
    stated = unicode_path(names[0], extra.decode("utf-8", errors="replace")) if zlib.crc32(extra) % 2 else extra
    content = (
        raw_zip([(b"first", b"x", b"")])
        if len(set(names)) < len(names)
        else raw_zip([(name, b"x", stated if not place else b"") for place, name in enumerate(names)])
    )
    allowed = {ProblemKind.INVALID_ARCHIVE, ProblemKind.UNSAFE_ARCHIVE, ProblemKind.ARCHIVE_TOO_LARGE}
    found = names_or_problem(tmp_path, content)
    if isinstance(found, ProblemKind):
        assert found in allowed
        return
    assert all(".." not in name.split("/") and not name.startswith("/") for name in found)
    assert all(unicodedata.is_normalized("NFC", name) for name in found)


def names_or_problem(path: Path, content: bytes) -> list[str] | ProblemKind:
    try:
        return names_of(path, content)[0]
    except FaceterError as error:
        return error.kind

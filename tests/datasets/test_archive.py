import io
import itertools
import stat
import struct
import unicodedata
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets.archive import SafeArchive
from tests.datasets.archives import zip_bytes

KIBIBYTE = 1024
ZEROS = bytes(1000 * KIBIBYTE)


def opened(path: Path, content: bytes, *, unpacked: int = 1 << 20, entries: int = 100) -> SafeArchive:
    file = path / "upload"
    file.write_bytes(content)
    return SafeArchive(file, max_unpacked_bytes=unpacked, max_entries=entries)


def refused(path: Path, content: bytes, kind: ProblemKind, words: str, **limits: int) -> None:
    with pytest.raises(FaceterError) as caught:
        opened(path, content, **limits)
    assert caught.value.kind is kind
    assert words in caught.value.detail


def patched(content: bytes, name: str, *, central: dict[int, bytes], local: dict[int, bytes]) -> bytes:
    """Overwrite fields of a member's two headers, by their offsets within each."""
    changed = bytearray(content)
    for signature, name_at, fields in ((b"PK\x03\x04", 30, local), (b"PK\x01\x02", 46, central)):
        starts = [
            at
            for at in range(len(content))
            if content.startswith(signature, at) and content.startswith(name.encode(), at + name_at)
        ]
        assert len(starts) == 1
        for offset, value in fields.items():
            changed[starts[0] + offset : starts[0] + offset + len(value)] = value
    return bytes(changed)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_out_as_they_went_in(tmp_path: Path, method: int) -> None:
    members = {"b/2.bin": bytes(range(256)) * 5000, "a.txt": b"", "b/1.bin": b"x" * 300_000}
    with opened(tmp_path, zip_bytes(members, method), unpacked=1 << 30) as archive:
        assert archive.names == ["a.txt", "b/1.bin", "b/2.bin"]
        assert "a.txt" in archive
        assert len(archive) == 3
        assert archive.warnings == []
        for name, content in members.items():
            assert archive.size(name) == len(content)
            assert archive.read(name, max_bytes=1 << 30) == content


def test_a_member_larger_than_asked_for_is_not_read(tmp_path: Path) -> None:
    with opened(tmp_path, zip_bytes({"a": b"12345"})) as archive:
        assert archive.read("a", max_bytes=5) == b"12345"
        with pytest.raises(FaceterError, match="'a' unpacks to 5 bytes; at most 4") as caught:
            archive.read("a", max_bytes=4)
    assert caught.value.kind is ProblemKind.ARCHIVE_TOO_LARGE


def test_many_threads_may_read(tmp_path: Path) -> None:
    members = {f"{i}": bytes([i]) * (1000 * i + 1) for i in range(50)}
    with opened(tmp_path, zip_bytes(members), unpacked=1 << 30) as archive, ThreadPoolExecutor(8) as pool:
        names = list(members) * 20
        for name, content in zip(names, pool.map(lambda n: archive.read(n, max_bytes=1 << 20), names), strict=True):
            assert content == members[name]


def test_what_file_managers_leave_behind_is_ignored_with_a_warning(tmp_path: Path) -> None:
    members = ["cat/1.jpg", "__MACOSX/cat/._1.jpg", "cat/.DS_Store", ".git/config", "dog/Thumbs.db", "desktop.ini"]
    with opened(tmp_path, zip_bytes(dict.fromkeys(members, b"x"))) as archive:
        assert archive.names == ["cat/1.jpg"]
        assert archive.warnings == [
            "ignored: Thumbs.db (1)",
            "ignored: __MACOSX (1)",
            "ignored: desktop.ini (1)",
            "ignored: hidden files (2)",
        ]


def test_folders_and_dots_in_names_are_harmless(tmp_path: Path) -> None:
    with opened(tmp_path, zip_bytes({"cat/": b"", "./cat//1.jpg": b"x"})) as archive:
        assert archive.names == ["cat/1.jpg"]


def test_something_before_the_archive_is_harmless(tmp_path: Path) -> None:
    with opened(tmp_path, b"#!/bin/sh\nexit\n" + zip_bytes({"a": b"hello"})) as archive:
        assert archive.read("a", max_bytes=9) == b"hello"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty"),
        (b"not a zip at all" * 100, "not a zip archive"),
        (b"PK\x03\x04" + bytes(100), "not a zip archive"),
        (zip_bytes({"a": ZEROS[:5000]}, zipfile.ZIP_STORED)[:-30], "not a zip archive"),
        (b"PK\x05\x06" + bytes(18), "no files"),
        (zip_bytes({"folder/": b""}), "no files"),
        (zip_bytes({".DS_Store": b"x"}), "no files"),
    ],
    ids=["empty", "text", "header-only", "cut-off", "empty-zip", "folder-only", "system_file-only"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    refused(tmp_path, content, ProblemKind.INVALID_ARCHIVE, words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.jpg", "leads outside"),
        ("cat/../../evil.jpg", "leads outside"),
        ("..", "leads outside"),
        ("/etc/passwd", "absolute path"),
        ("//server/share", "absolute path"),
        ("C:/evil.jpg", "absolute path"),
        ("c:evil.jpg", "absolute path"),
        ("..\\evil.jpg", "leads outside"),
        ("cat\\..\\..\\evil.jpg", "leads outside"),
        ("cat/..\\../evil.jpg", "leads outside"),
        ("\\evil.jpg", "absolute path"),
        ("\\\\server\\share", "absolute path"),
        ("C:\\evil.jpg", "absolute path"),
        ("cat/1\x00.jpg", "control characters"),
        ("cat/1\n.jpg", "control characters"),
        ("./", "without a name"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, words: str) -> None:
    refused(tmp_path, zip_bytes({"ok.jpg": b"x", name: b"x"}), ProblemKind.UNSAFE_ARCHIVE, words)


@pytest.mark.parametrize("system_file", ["__MACOSX/../../x", ".hidden/../../../x"])
def test_names_are_checked_before_they_are_ignored(tmp_path: Path, system_file: str) -> None:
    refused(tmp_path, zip_bytes({"ok.jpg": b"x", system_file: b"x"}), ProblemKind.UNSAFE_ARCHIVE, "leads outside")


@pytest.mark.parametrize(
    ("mode", "words"), [(stat.S_IFLNK, "a link"), (stat.S_IFCHR, "a special file"), (stat.S_IFIFO, "a special file")]
)
def test_links_and_special_files_are_refused(tmp_path: Path, mode: int, words: str) -> None:
    attributes = struct.pack("<I", (mode | 0o777) << 16)
    content = patched(zip_bytes({"cat.jpg": b"/etc/passwd"}), "cat.jpg", central={38: attributes}, local={})
    refused(tmp_path, content, ProblemKind.UNSAFE_ARCHIVE, words)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    content = zip_bytes({"cat/1.jpg": b"x", "cat/2.jpg": b"y"}).replace(b"cat/2.jpg", b"cat/1.jpg")
    refused(tmp_path, content, ProblemKind.UNSAFE_ARCHIVE, "'cat/1.jpg' twice")
    refused(tmp_path, zip_bytes({"a": b"x", "./a": b"y"}), ProblemKind.UNSAFE_ARCHIVE, "'a' twice, as 'a' and './a'")
    refused(tmp_path, zip_bytes({"a/b": b"x", "a\\b": b"y"}), ProblemKind.UNSAFE_ARCHIVE, "'a/b' twice")
    twice = {unicodedata.normalize(form, "café"): b"x" for form in ("NFC", "NFD")}
    refused(tmp_path, zip_bytes(twice), ProblemKind.UNSAFE_ARCHIVE, "'café' twice, as 'caf\\xe9' and 'cafe\\u0301'")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = patched(zip_bytes({"cat.jpg": b"x"}), "cat.jpg", central={8: b"\x01\x00"}, local={6: b"\x01\x00"})
    refused(tmp_path, content, ProblemKind.INVALID_ARCHIVE, "encrypted ('cat.jpg')")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path: Path, method: int) -> None:
    refused(tmp_path, zip_bytes({"cat.jpg": b"x"}, method), ProblemKind.INVALID_ARCHIVE, "only stored and deflated")


@pytest.mark.parametrize("name", ["more.zip", "a/b.tar.gz", "x.7z"])
def test_an_archive_within_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path, zip_bytes({name: b"x"}), ProblemKind.INVALID_ARCHIVE, "another archive")


def test_an_honest_bomb_is_refused_by_its_list(tmp_path: Path) -> None:
    content = zip_bytes({f"{i}.jpg": ZEROS for i in range(3)})
    assert len(content) < 5000
    refused(tmp_path, content, ProblemKind.ARCHIVE_TOO_LARGE, "unpacks to 3,072,000 bytes", unpacked=2 << 20)


@pytest.mark.parametrize("claimed", [0, 10, 300 * KIBIBYTE])
def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_is_read(tmp_path: Path, claimed: int) -> None:
    size, check_sum = struct.pack("<I", claimed), struct.pack("<I", zlib.crc32(ZEROS[:claimed]))
    content = patched(
        zip_bytes({"cat.jpg": ZEROS}), "cat.jpg", central={16: check_sum, 24: size}, local={14: check_sum, 22: size}
    )
    words = f"more than the {claimed:,} bytes"
    with (
        opened(tmp_path, content, unpacked=400 * KIBIBYTE) as archive,
        pytest.raises(FaceterError, match=words) as caught,
    ):
        archive.read("cat.jpg", max_bytes=1 << 30)
    assert caught.value.kind is ProblemKind.UNSAFE_ARCHIVE


def test_a_member_that_holds_less_than_it_says_is_damaged(tmp_path: Path) -> None:
    size = struct.pack("<I", 2000)
    content = patched(zip_bytes({"cat.jpg": b"x" * 1000}), "cat.jpg", central={24: size}, local={22: size})
    with opened(tmp_path, content) as archive, pytest.raises(FaceterError, match=r"'cat\.jpg' .*damaged"):
        archive.read("cat.jpg", max_bytes=1 << 20)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_is_noticed(tmp_path: Path, method: int) -> None:
    content = bytearray(zip_bytes({"cat.jpg": bytes(range(256)) * 40}, method))
    content[200] ^= 0xFF
    with opened(tmp_path, bytes(content)) as archive, pytest.raises(FaceterError, match="damaged") as caught:
        archive.read("cat.jpg", max_bytes=1 << 20)
    assert caught.value.kind is ProblemKind.INVALID_ARCHIVE


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    members = {f"{i}": b"" for i in range(6)}
    with opened(tmp_path, zip_bytes(members), entries=6) as archive:
        assert len(archive) == 6
    refused(tmp_path, zip_bytes(members), ProblemKind.ARCHIVE_TOO_LARGE, "more files (6) than the 5", entries=5)


def test_a_list_of_members_that_lies_about_its_length_is_refused_unread(tmp_path: Path) -> None:
    content = bytearray(zip_bytes({f"{i:0200}": b"" for i in range(60)}))
    content[-14:-10] = struct.pack("<HH", 2, 2)
    refused(tmp_path, bytes(content), ProblemKind.ARCHIVE_TOO_LARGE, "more files", entries=3)


def test_members_in_the_large_form_of_the_format_are_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive, archive.open("a/b.txt", "w", force_zip64=True) as member:
        member.write(b"hello")
    with opened(tmp_path, stream.getvalue()) as found:
        assert found.read("a/b.txt", max_bytes=9) == b"hello"


def test_an_archive_that_was_written_to_a_pipe_is_read(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        content = b""

        def writable(self) -> bool:
            return True

        def write(self, content: Any) -> int:
            self.content += bytes(content)
            return len(content)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cat/1.txt", b"hello " * 50)
    assert b"PK\x07\x08" in pipe.content
    with opened(tmp_path, pipe.content) as found:
        assert found.read("cat/1.txt", max_bytes=999) == b"hello " * 50


def test_the_large_form_of_the_format_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    content = zip_bytes({f"{i}": b"hello" for i in range(5)})
    assert b"PK\x06\x06" in content
    with opened(tmp_path, content) as archive:
        assert archive.read("4", max_bytes=9) == b"hello"
    refused(tmp_path, content, ProblemKind.ARCHIVE_TOO_LARGE, "more files (5)", entries=4)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_archives_give_their_members_or_a_problem_and_nothing_else(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(zip_bytes({"a.txt": b"hello " * 30, "b/c.txt": b"world"}))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    problems = itertools.chain.from_iterable(read_all(tmp_path, bytes(content)))
    assert set(problems) <= {ProblemKind.INVALID_ARCHIVE, ProblemKind.UNSAFE_ARCHIVE, ProblemKind.ARCHIVE_TOO_LARGE}


def read_all(path: Path, content: bytes) -> list[list[ProblemKind]]:
    """Return the problem with the archive, or with each member."""
    try:
        archive = opened(path, content)
    except FaceterError as error:
        return [[error.kind]]
    with archive:
        return [read_one(archive, name) for name in archive.names]


def read_one(archive: SafeArchive, name: str) -> list[ProblemKind]:
    try:
        archive.read(name, max_bytes=1 << 20)
    except FaceterError as error:
        return [error.kind]
    return []

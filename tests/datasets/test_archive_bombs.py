"""Archives that say one thing and hold another: overlapping members, and sizes that lie in the large form."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.datasets.archive import SafeArchive

_KERNEL = 1_000_000
_MOST = 50_000_000


def overlapping(members: int) -> bytes:
    """Return an archive of members that all share one compressed run of zeros, after D. Fifield's zip bombs.

    Each member quotes the local headers of those after it as stored blocks, and ends with the shared run.
    """
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = compressor.compress(bytes(_KERNEL)) + compressor.flush()
    tail, content, check_sum, length = kernel, bytes(_KERNEL), zlib.crc32(bytes(_KERNEL)), len(kernel)
    entries: list[tuple[bytes, int, int, int]] = []
    for number in reversed(range(members)):
        name = f"{number:04}".encode()
        if entries:
            header = tail[: 30 + 4]
            quote = b"\x00" + struct.pack("<HH", len(header), len(header) ^ 0xFFFF)
            tail, content = quote + tail, header + content
            length, check_sum = length + len(quote) + len(header), zlib.crc32(content)
        fields = (check_sum, length, len(content))
        tail = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 8, 0, 0, *fields, 4, 0) + name + tail
        entries.append((name, *fields))
    directory, offset = b"", 0
    for name, *sizes in reversed(entries):
        directory += struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, *sizes, 4, 0, 0, 0, 0, 0, offset
        )
        directory += name
        offset += 34 + 5
    return (
        tail
        + directory
        + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, members, members, len(directory), len(tail), 0)
    )


def opened(path: Path, content: bytes, most: int = _MOST) -> SafeArchive:
    file = path / "a.zip"
    file.write_bytes(content)
    return SafeArchive(file, max_unpacked_bytes=most, max_entries=1000)


def test_overlapping_members_count_as_often_as_they_are_there(tmp_path: Path) -> None:
    content = overlapping(200)
    assert len(content) < 40_000
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) > 200 * _KERNEL
    with pytest.raises(FaceterError, match="unpacks to 20") as caught:
        opened(tmp_path, content)
    assert caught.value.kind is ProblemKind.ARCHIVE_TOO_LARGE


def in_large_form(declared: int) -> bytes:
    """Return an archive of a megabyte of zeros whose size is declared in the extra field of the large form."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a", "w", force_zip64=True) as member,
    ):
        member.write(bytes(_KERNEL))
    content = file.getvalue()
    at = content.index(b"PK\x01\x02")
    extra = struct.pack("<HHQ", 1, 8, declared)
    directory = bytearray(content[at : at + 46 + 1])
    directory[24:28] = b"\xff" * 4
    directory[30:32] = struct.pack("<H", len(extra))
    end = bytearray(content[content.rindex(b"PK\x05\x06") :])
    end[12:16] = struct.pack("<I", len(directory) + len(extra))
    return content[:at] + bytes(directory) + extra + bytes(end)


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        (2**63, ProblemKind.ARCHIVE_TOO_LARGE),
        (_MOST + 1, ProblemKind.ARCHIVE_TOO_LARGE),
        (10, ProblemKind.UNSAFE_ARCHIVE),
        (_KERNEL + 1, ProblemKind.INVALID_ARCHIVE),
        (0, ProblemKind.UNSAFE_ARCHIVE),
    ],
)
def test_sizes_of_the_large_form_are_checked_as_others(tmp_path: Path, declared: int, kind: ProblemKind) -> None:
    def read() -> None:
        with opened(tmp_path, in_large_form(declared)) as archive:
            archive.read("a", max_bytes=_MOST)

    tracemalloc.start()
    with pytest.raises(FaceterError) as caught:
        read()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.kind is kind
    assert most < 4 * _KERNEL


def test_a_true_size_in_the_large_form_is_read(tmp_path: Path) -> None:
    with opened(tmp_path, in_large_form(_KERNEL)) as archive:
        assert archive.read("a", max_bytes=_MOST) == bytes(_KERNEL)

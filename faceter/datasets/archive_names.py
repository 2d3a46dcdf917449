"""Names of the members of a zip archive: their encoding, whether they lead outside, what file managers leave behind."""

import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import Final

from faceter.contracts.base import composed
from faceter.contracts.errors import FaceterError, ProblemKind

_UTF_8_FLAG: Final = 0x800
_DOS_FOLDER: Final = 0x10
_UNICODE_PATH: Final = 0x7075
_FIELD: Final = struct.Struct("<HH")
_PATH_START: Final = struct.Struct("<BL")

_FOLDER_ICONS: Final = frozenset({"Icon\r", "Icon\uf00d"})
_LEFTOVERS: Final = frozenset(
    {
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "lost+found",
        "network trash folder",
        "picasa.ini",
        "system volume information",
        "temporary items",
        "thumbs.db",
        "thumbs.db:encryptable",
    }
)
"""Files and folders of macOS, Windows and network drives, in lower case; hidden ones start with a dot."""


@dataclass(frozen=True)
class MemberName:
    """The name of a member."""

    parts: tuple[str, ...]
    """Its folders and its file, in composed Unicode."""
    is_folder: bool
    leftover: str | None
    """What it is a leftover of, such as ``__MACOSX``; None for a file of the user's."""
    had_backslash: bool
    """Whether its parts were separated by backslashes."""
    is_guessed: bool
    """Whether the archive states no encoding, and its bytes are no UTF-8, so that they were read as CP437."""

    @property
    def path(self) -> str:
        """The parts, separated by ``/``."""
        return "/".join(self.parts)


def member_name(entry: zipfile.ZipInfo) -> MemberName:
    """Return the name of an entry of an archive's directory.

    The name is the Unicode path of the extra field 0x7075 if that belongs to it, else UTF-8 if its flag says so or its
    bytes are valid, else CP437, as the format has it. Backslashes separate folders, as on Windows.

    Args:
        entry: As `zipfile` reads it.

    Raises:
        FaceterError: ``UNSAFE_ARCHIVE`` if the entry leads outside, has control characters in its name, or is a link.
    """
    decoded, is_guessed = _decoded(entry)
    text = composed(decoded.replace("\\", "/"))
    shown = ascii(decoded)
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/") or (parts and len(parts[0]) >= 2 and parts[0][1] == ":"):
        raise _unsafe(f"an absolute path, {shown}. Zip the folder itself, so that names start with it.")
    if ".." in parts:
        raise _unsafe(f"a path that leads outside it, {shown}. Zip the folder that holds everything.")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link" if kind == stat.S_IFLNK else "a special file"
        raise _unsafe(f"{what}, {shown}. Put in the file itself.")
    leftover = next((_leftover(part) for part in parts if _leftover(part) is not None), None)
    if leftover is None and any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise _unsafe(f"a name with control characters: {shown}. Rename the file.")
    if not parts:
        raise _unsafe(f"a file without a name, {shown}. Make the archive again.")
    is_folder = text.endswith("/") or (entry.file_size == 0 and bool(entry.external_attr & _DOS_FOLDER))
    return MemberName(parts, is_folder, leftover, "\\" in decoded, is_guessed)


def _decoded(entry: zipfile.ZipInfo) -> tuple[str, bool]:
    """Return the name as text, and whether its encoding is neither stated nor plain."""
    name = entry.orig_filename
    if entry.flag_bits & _UTF_8_FLAG:
        return name, False
    raw = name.encode("cp437")
    stated = _unicode_path(entry.extra, zlib.crc32(raw))
    if stated is not None:
        return stated, False
    try:
        return raw.decode("utf-8"), False
    except UnicodeDecodeError:
        return name, True


def _unicode_path(extra: bytes, check_sum: int) -> str | None:
    """Return the path of Info-ZIP's extra field; None if there is none, or it belongs to another name.

    Args:
        extra: The entry's extra fields.
        check_sum: CRC-32 of the name's bytes.
    """
    start = 0
    while start + _FIELD.size <= len(extra):
        kind, length = _FIELD.unpack_from(extra, start)
        content = extra[start + _FIELD.size : start + _FIELD.size + length]
        start += _FIELD.size + length
        if kind != _UNICODE_PATH or len(content) <= _PATH_START.size:
            continue
        version, of_name = _PATH_START.unpack_from(content)
        if version != 1 or of_name != check_sum:
            continue
        try:
            return content[_PATH_START.size :].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


def _leftover(part: str) -> str | None:
    if part.startswith("."):
        return "hidden files"
    if part in _FOLDER_ICONS:
        return "folder icons"
    return part if part.lower() in _LEFTOVERS or part.startswith("~$") else None


def _unsafe(what: str) -> FaceterError:
    return FaceterError(ProblemKind.UNSAFE_ARCHIVE, f"The archive holds {what}")

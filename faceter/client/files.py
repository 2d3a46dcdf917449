"""Files to send and files received; a folder is sent as a zip."""

import base64
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import BinaryIO, Final

FileLike = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the content, or an open binary file that can be rewound."""

_STORED_AS_THEY_ARE: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".zip", ".npz"})
_DOS_BEGIN: Final = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class FilePart:
    """A file of a form, which can be opened from its beginning as often as the form is sent.

    Attributes:
        field: Name of the part.
        filename: Name of the file; without a `name`, the resource is named after it.
        content: A path, the content, or an open file.
        start: Where an open file begins.
        media_type: Media type.
    """

    field: str
    filename: str
    content: Path | bytes | BinaryIO
    start: int = 0
    media_type: str = "application/octet-stream"

    @classmethod
    def of(cls, field: str, file: FileLike, filename: str) -> "FilePart":
        """Return a part.

        Args:
            field: Name of the part.
            file: The file.
            filename: Name for a file without one of its own.

        Raises:
            FileNotFoundError: If there is no file at the path.
            TypeError: If it is no file.
        """
        if isinstance(file, (bytes, bytearray, memoryview)):
            return cls(field, filename, bytes(file))
        if isinstance(file, (str, os.PathLike)):
            path = Path(file)
            if not path.is_file():
                raise FileNotFoundError(f"There is no file {str(path)!r}.")
            return cls(field, path.name, path)
        if not hasattr(file, "read") or not hasattr(file, "seek"):
            raise TypeError(f"A path, bytes or an open binary file is needed, not {type(file).__name__}.")
        name = getattr(file, "name", None)
        return cls(field, Path(name).name if isinstance(name, str) else filename, file, file.tell())

    @contextmanager
    def opened(self) -> Iterator[bytes | BinaryIO]:
        """Yield the content, or the file at its beginning; a path is closed again."""
        if isinstance(self.content, bytes):
            yield self.content
        elif isinstance(self.content, Path):
            with self.content.open("rb") as file:
                yield file
        elif self.start:
            self.content.seek(self.start)
            yield self.content.read()
        else:
            self.content.seek(0)
            yield self.content


@contextmanager
def zipped(folder: Path) -> Iterator[Path]:
    """Write the files of a folder to a temporary zip, which is deleted after the block.

    Names are sorted and times left out, so that equal folders give equal files. Hidden files are left out.

    Raises:
        ValueError: If there is no file in the folder.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    if not files:
        raise ValueError(f"There is no file in the folder {str(folder)!r}.")
    with tempfile.TemporaryDirectory(prefix="faceter-") as scratch:
        path = Path(scratch) / f"{folder.resolve().name or 'folder'}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _DOS_BEGIN)
                stored = file.suffix.lower() in _STORED_AS_THEY_ARE
                entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                entry.file_size = file.stat().st_size
                with file.open("rb") as source, archive.open(entry, "w") as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
        yield path


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that takes the place of ``path`` after the block, and is deleted if the block fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".faceter-") as scratch:
        part = Path(scratch) / "part"
        with part.open("wb") as file:
            yield file
        part.replace(path)


@dataclass(frozen=True)
class ReceivedFile:
    """A file of the service; an image shows itself in a notebook."""

    content: bytes
    media_type: str
    name: str

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a path, and return that."""
        with replacing(Path(path)) as file:
            file.write(self.content)
        return Path(path)

    def __repr__(self) -> str:
        return f"ReceivedFile({self.name!r}, {self.media_type}, {len(self.content):,} bytes)"

    def _repr_html_(self) -> str:
        if not self.media_type.startswith("image/"):
            return escape(repr(self))
        data = base64.b64encode(self.content).decode()
        return f'<img alt="{escape(self.name)}" src="data:{escape(self.media_type)};base64,{data}">'

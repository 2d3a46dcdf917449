"""Finds the files of an archive that texts in it refer to."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from posixpath import commonpath
from typing import Self

from faceter.contracts.base import composed
from faceter.datasets.class_folders import SPLITS
from faceter.datasets.names import folded


class FileReferences:
    """Files by their names, by the ends of their names, and without regard to upper and lower case.

    Lists are often made on another machine, or above or below the folder that was zipped. So a reference is looked up
    in the given folders, then as the end of one file's name (``val/1.jpg`` of ``set/val/1.jpg``), then without its own
    first folders, if what is left is a whole name in the given folders or in the folder that holds all files.

    Args:
        files: The files by the names they are referred to by; None where these are several.
    """

    def __init__(self, files: Mapping[str, str | None]) -> None:
        self._names = _Names(files)
        self._folded: _Names | None = None
        self.respelled: dict[str, str] = {}
        """Files that were only found in other upper and lower case, by the reference."""

    @classmethod
    def of(cls, names: Iterable[str]) -> Self:
        """Return references to files by their whole names."""
        return cls({name: name for name in names})

    @classmethod
    def without_extension(cls, names: Iterable[str]) -> Self:
        """Return references to files by their names without extension; a name that several files have finds none."""
        return cls(_unambiguous((stem(name), name) for name in names))

    def find(self, reference: str, folders: Sequence[str] = ("",)) -> str | None:
        """Return the file that a text refers to; None if there is none, or it may be several.

        Args:
            reference: A relative or absolute path, with slashes or backslashes.
            folders: Where it is looked for first, each with a slash at its end.
        """
        parts = [part for part in composed(reference).strip().replace("\\", "/").split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            return None
        found = self._names.find(parts, folders)
        if found is None:
            if self._folded is None:
                items = self._names.files.items()
                self._folded = _Names(_unambiguous((folded(name), file) for name, file in items))
            found = self._folded.find([folded(part) for part in parts], [folded(folder) for folder in folders])
            if found is not None:
                self.respelled[reference] = found
        return found


def stem(name: str) -> str:
    """Return a name without its extension."""
    return name.removesuffix(PurePosixPath(name).suffix)


class _Names:
    """Names of files, their ends, and what they are within the folder that holds all."""

    def __init__(self, files: Mapping[str, str | None]) -> None:
        self.files = dict(files)
        self._ends: dict[str, str | None] = {}
        for name, file in files.items():
            end = name
            while end:
                self._ends[end] = None if end in self._ends else file
                end = end.partition("/")[2]
        around = commonpath([name.rpartition("/")[0] for name in files]) if files else ""
        self._around = f"{around}/" if around else ""

    def find(self, parts: Sequence[str], folders: Sequence[str]) -> str | None:
        path = "/".join(parts)
        for folder in folders:
            if folder + path in self.files:
                return self.files[folder + path]
        if path in self._ends:
            return self._ends[path]
        for start in range(1, len(parts)):
            for folder in (*folders, self._around):
                place = folder + "/".join(parts[start:])
                if place in self.files and not _are_other_parts(parts[:start], folder):
                    return self.files[place]
        return None


def _are_other_parts(dropped: Sequence[str], folder: str) -> bool:
    """Return whether folders, such as ``train``, name another part of a set than a folder that stands in for them."""
    first, second = ({part.lower() for part in parts} & SPLITS for parts in (dropped, folder.split("/")))
    return bool(first and second and first.isdisjoint(second))


def _unambiguous(files: Iterable[tuple[str, str | None]]) -> dict[str, str | None]:
    """Return the files by name; None where several have it."""
    found: dict[str, str | None] = {}
    for name, file in files:
        found[name] = None if name in found else file
    return found

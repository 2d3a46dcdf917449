"""Index files, such as ``val.txt`` or ``labels.csv``: lines that name images, with or without their classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError
from faceter.datasets.archive import SafeArchive
from faceter.datasets.errors import invalid_dataset
from faceter.datasets.file_references import FileReferences, stem
from faceter.datasets.text_files import decoded_text, table_rows, text_beginning

_EXTENSIONS: Final = frozenset({".txt", ".csv", ".tsv", ".lst"})
_MAX_BYTES: Final = 1 << 27

_WORDS: Final = " "
"""Stands for white space between a path, which may hold some, and a class of one word."""
_FORMS: Final = ("\t", ";", ",", _WORDS)
_LABEL_COLUMNS: Final = frozenset({"label", "labels", "class", "class_name", "category", "target", "species", "breed"})
_OTHER_COLUMNS: Final = frozenset({"caption", "captions", "description", "split", "text", "url", "width", "height"})
_MAX_PROBLEMS: Final = 5


@dataclass(frozen=True)
class ImageIndex:
    """The images that an index file names."""

    file: str
    """Its name in the archive."""
    images: list[str]
    """The archive's names of the images, each once, in the order of the file."""
    labels: dict[str, str] | None
    """Class of each image; None if the file names none."""


@dataclass(frozen=True)
class _Lookup:
    """Finds the image that a path in an index names, with or without extension."""

    images: FileReferences
    stems: FileReferences
    folders: Sequence[str]

    def __call__(self, path: str) -> str | None:
        return self.images.find(path, self.folders) or self.stems.find(path, self.folders)


@dataclass(frozen=True)
class _Table:
    """The rows of an index, and where its values lie."""

    rows: list[tuple[int, list[str]]]
    """Of images: a line's number and its values."""
    path: int
    label: int | None
    width: int


def read_indexes(archive: SafeArchive, images: Sequence[str], others: Sequence[str]) -> list[ImageIndex]:
    """Return the index files among the files of an archive that are no images; see `read_index` for errors.

    A text file with the name of an image is about that image, and no index.
    """
    about = {PurePosixPath(image).stem for image in images}
    candidates = [name for name in others if PurePosixPath(name).suffix.lower() in _EXTENSIONS]
    files = [name for name in candidates if PurePosixPath(name).stem not in about]
    if not files:
        return []
    lookup = FileReferences.of(images), FileReferences.without_extension(images)
    found = [read_index(archive.read(file, max_bytes=_MAX_BYTES), file, *lookup) for file in files]
    return [index for index in found if index is not None]


def read_index(content: bytes, file: str, images: FileReferences, stems: FileReferences) -> ImageIndex | None:
    """Return what an index file says; None if the file is none, because most of its lines name no image.

    A line is a path and, after a tab, semicolon, comma or white space, its class; a table may have a header, and
    further columns if the header tells which holds the classes. Paths may lack the extension.

    Args:
        content: The file.
        file: Its name.
        images: The images by name.
        stems: The images by name without extension.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first lines that do not fit the others.
    """
    folder = file.rpartition("/")[0]
    around = f"{folder}/" if folder else ""
    lookup = _Lookup(images, stems, (around, f"{around}images/", f"{stem(file)}/"))
    beginning = text_beginning(content)
    form = next((form for form in _FORMS if _table(beginning, file, form, lookup) is not None), None)
    table = None if form is None else _table(decoded_text(content, file), file, form, lookup)
    return None if table is None else _index(file, table, lookup)


def _table(text: str, file: str, form: str, lookup: _Lookup) -> _Table | None:
    """Return the table in a text of a form; None if it is no index of that form."""
    try:
        rows = _rows(text, file, form)
    except FaceterError:
        return None
    for header in (None, rows[0][1]) if rows else ():
        data = rows if header is None else rows[1:]
        place = next((place for place, value in enumerate(data[0][1]) if lookup(value)), None) if data else None
        if place is None:
            continue
        width = len(data[0][1])
        found = sum(len(values) > place and lookup(values[place]) is not None for _, values in data)
        label = _label_column(header, place, width)
        return (
            _Table(data, place, label, width) if 2 * found >= len(data) and (label is not None or width == 1) else None
        )
    return None


def _rows(text: str, file: str, form: str) -> list[tuple[int, list[str]]]:
    if form != _WORDS:
        return list(table_rows(text, file, form))
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.rsplit(None, 1)) for number, line in lines if line.strip()]


def _label_column(header: Sequence[str] | None, path: int, width: int) -> int | None:
    """Return the column of the classes; None if there is none, or it is not known."""
    names = [] if header is None else [name.casefold().strip() for name in header]
    named = [place for place, name in enumerate(names) if name in _LABEL_COLUMNS and place != path]
    if named:
        return named[0]
    other = 1 - path
    return other if width == 2 and not (len(names) == 2 and names[other] in _OTHER_COLUMNS) else None


def _index(file: str, table: _Table, lookup: _Lookup) -> ImageIndex:
    labels: dict[str, str] = {}
    problems: list[str] = []
    for line, values in table.rows:
        problem = _problem(values, table, lookup, labels)
        if problem is not None:
            problems.append(f"line {line} {problem}")
    if problems:
        more = f" And {len(problems) - _MAX_PROBLEMS} more." if len(problems) > _MAX_PROBLEMS else ""
        raise invalid_dataset(f"{file}: {'; '.join(problems[:_MAX_PROBLEMS])}.{more} Correct it, or leave it out.")
    return ImageIndex(file, list(labels), None if table.label is None else labels)


def _problem(values: Sequence[str], table: _Table, lookup: _Lookup, labels: dict[str, str]) -> str | None:
    """Add a row's image and class to the labels; return its problem if it has one."""
    if len(values) != table.width:
        return f"has {len(values)} value{'s' if len(values) > 1 else ''}, not {table.width}"
    image = lookup(values[table.path])
    if image is None:
        return f"names the image {values[table.path][:200]!a}, which is not in the archive, or in several folders"
    try:
        label = "" if table.label is None else check_name(values[table.label])
    except ValueError:
        return "has a class that is no text of 1 to 200 printable characters"
    if labels.setdefault(image, label) != label:
        return f"says '{label}' of '{image}', an earlier line '{labels[image]}'"
    return None

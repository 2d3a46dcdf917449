"""Files that name numbered classes: ``classes.txt`` and ``obj.names``, a name a line, and YOLO's ``data.yaml``."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

import yaml

from faceter.contracts.base import check_name, composed
from faceter.datasets.archive import SafeArchive
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.text_files import decoded_text

_LISTS: Final = frozenset({"_darknet.labels", "class_names.txt", "classes.txt", "labels.txt", "names.txt"})
_YAML: Final = frozenset({".yaml", ".yml"})
_MAX_BYTES: Final = 1 << 22
_MAX_DOCUMENT_BYTES: Final = 1 << 16
_MOST_DOCUMENTS: Final = 4
"""YAML files that are read, the outermost; each may take seconds if it is made to."""
_MOST_CLASSES: Final = 100_000


def read_class_names(archive: SafeArchive, files: Sequence[str]) -> tuple[str, list[str]] | None:
    """Return the file that names the classes, and the names, the first of which is that of number 0.

    Args:
        archive: The archive.
        files: Its members that may be such a file; the outermost that is one by its name is taken, and of these a
            ``data.yaml`` before lists.

    Returns:
        None if there is no such file.

    Raises:
        FaceterError: ``INVALID_DATASET`` if it cannot be read, or there are several that differ.
    """
    lists = [file for file in files if _is_list(file)]
    documents = [file for file in files if PurePosixPath(file).suffix.lower() in _YAML]
    documents = sorted(documents, key=lambda file: file.count("/"))[:_MOST_DOCUMENTS]
    found = {file: _document_names(document, file) for file, document in _documents(archive, documents).items()}
    named = {file: names for file, names in found.items() if names is not None}
    if not named:
        named = {file: _lines(_content(archive, file, _MAX_BYTES), file) for file in lists}
    if not named:
        return None
    depth = min(file.count("/") for file in named)
    outermost = {file: names for file, names in named.items() if file.count("/") == depth}
    file, names = next(iter(outermost.items()))
    if any(others != names for others in outermost.values()):
        raise invalid_dataset(f"The classes are named differently in {quoted_names(list(outermost))}. Leave one.")
    return file, names


def _is_list(file: str) -> bool:
    path = PurePosixPath(file.lower())
    return path.name in _LISTS or path.suffix == ".names"


def _content(archive: SafeArchive, file: str, max_bytes: int) -> str:
    return decoded_text(archive.read(file, max_bytes=max_bytes), file)


def _lines(text: str, file: str) -> list[str]:
    return _checked([line for line in text.split("\n") if line.strip()], file)


def _documents(archive: SafeArchive, files: Sequence[str]) -> dict[str, Any]:
    """Return YAML documents with scalars as text, so that a class ``no`` is not false; aliases are shared, not copied.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    documents: dict[str, Any] = {}
    for file in files:
        try:
            # BaseLoader makes texts, lists and dictionaries only, and neither merges keys nor copies aliases
            documents[file] = yaml.load(_content(archive, file, _MAX_DOCUMENT_BYTES), Loader=yaml.BaseLoader)
        except yaml.YAMLError as error:
            place = getattr(error, "problem_mark", None)
            where = "" if place is None else f" at line {place.line + 1}"
            raise invalid_dataset(f"{file} is not YAML{where}. Correct it, or leave it out.") from error
        except (RecursionError, ValueError) as error:
            raise invalid_dataset(f"{file} is not YAML that can be read. Correct it, or leave it out.") from error
    return documents


def _document_names(document: Any, file: str) -> list[str] | None:
    """Return the ``names`` of a document, a list or a mapping of numbers; None if it has none."""
    names = document.get("names") if isinstance(document, dict) else None
    if names is None:
        return None
    if isinstance(names, dict):
        if not all(isinstance(key, str) and key.isascii() and key.isdigit() for key in names):
            raise invalid_dataset(f"{file}: the keys of 'names' must be the numbers of the classes, from 0.")
        numbers = {int(key): name for key, name in names.items() if len(key) < 10}
        if sorted(numbers) != list(range(len(names))):
            raise invalid_dataset(f"{file}: 'names' must number the classes from 0 without gaps.")
        names = [numbers[number] for number in range(len(numbers))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid_dataset(f"{file}: 'names' must list the names of the classes.")
    return _checked(names, file)


def _checked(names: Sequence[str], file: str) -> list[str]:
    if not 1 <= len(names) <= _MOST_CLASSES:
        raise invalid_dataset(f"{file} names {len(names):,} classes; it must be 1 to {_MOST_CLASSES:,}.")
    checked: list[str] = []
    for number, name in enumerate(names):
        try:
            checked.append(composed(check_name(name)))
        except ValueError as error:
            raise invalid_dataset(
                f"{file}: the name of class {number} is not one of 1 to 200 printable characters."
            ) from error
    if len(set(checked)) < len(checked):
        twice, _ = Counter(checked).most_common(1)[0]
        raise invalid_dataset(f"{file} names '{twice}' twice. Give each class a name of its own.")
    return checked

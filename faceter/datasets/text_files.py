"""Text files of an archive as people save them: with or without a byte order mark, tables with any usual separator."""

import codecs
import csv
import re
from collections.abc import Iterator
from typing import Final

from faceter.contracts.base import composed
from faceter.datasets.errors import invalid_dataset

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SEPARATORS: Final = ("\t", ";", ",")
_STATED: Final = "sep="
_BEGINNING: Final = 1 << 16
_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")


def decoded_text(content: bytes, name: str) -> str:
    """Return a text file's content in composed Unicode, lines ended by line feeds.

    Args:
        content: UTF-8, with or without a byte order mark, or UTF-16 with one.
        name: Its name, for problem details.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the line that is neither.
    """
    try:
        text = content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise invalid_dataset(
            f"{name}: line {line} is not UTF-8 text. Save the file as UTF-8 (in Excel: CSV UTF-8)."
        ) from error
    return composed(text.replace("\r\n", "\n").replace("\r", "\n"))


def text_beginning(content: bytes) -> str:
    """Return the whole lines at the beginning of a file, whatever its encoding; empty for what is no text."""
    start = content[:_BEGINNING]
    text = start.decode("utf-16" if start.startswith(_UTF_16) else "utf-8-sig", errors="replace")
    text = composed(text.replace("\r\n", "\n").replace("\r", "\n"))
    if "\0" in text:
        return ""
    return text if len(content) <= _BEGINNING else text[: text.rfind("\n") + 1]


def table_rows(text: str, name: str, separator: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table that are not empty, with their line numbers, values stripped of white space.

    Args:
        text: The file. A first line ``sep=;``, as Excel takes it, states the separator.
        name: Its name, for problem details.
        separator: Between values; if not given, the most common of tab, semicolon and comma in the first line.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the line that cannot be read.
    """
    first = text.partition("\n")[0]
    stated = first.lower().startswith(_STATED) and len(first) == len(_STATED) + 1
    if separator is None:
        separator = first[-1] if stated else max(_SEPARATORS, key=lambda one: (first.count(one), one == ","))
    reader = csv.reader((line[0] for line in _LINE.finditer(text)), delimiter=separator, strict=True)
    try:
        for row in reader:
            if any(value.strip() for value in row) and not (stated and reader.line_num == 1):
                yield reader.line_num, [value.strip() for value in row]
    except csv.Error as error:
        raise invalid_dataset(f"{name}: line {reader.line_num} cannot be read ({error}).") from error

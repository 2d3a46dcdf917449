"""Datasets of kind ``texts``: one file of texts, as JSON lines or as a table, with optional labels and tags."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.contracts.settings import Settings
from faceter.datasets.errors import invalid_dataset, quoted_names
from faceter.datasets.labels import Labels
from faceter.datasets.names import numbered_names
from faceter.datasets.samples import DatasetContents, ProgressFunction
from faceter.datasets.text_files import decoded_text, table_rows
from faceter.datasets.tokenized import TokenizableDataset
from faceter.text.tokenizer import LONGEST_TEXT

_TEXT, _LABEL, _TAGS = "text", "label", "tags"
_FIELDS: Final = (_TEXT, _LABEL, _TAGS)
_FILE: Final = "The file"
_MAX_BYTES: Final = 1 << 28
_MOST_CLASSES: Final = 100_000
_ZIP: Final = b"PK\x03\x04"
_FORMS: Final = (
    'a line {"text": "…", "label": "…"} for each text, or a table (CSV or TSV) with the columns text and label'
)


@dataclass(frozen=True)
class TaggedText:
    """A text of a dataset."""

    text: str
    """The text."""
    tags: tuple[str, ...] = ()
    """A tag, such as a part of speech, for each of its words, separated by white space; empty if there are none."""
    label: str | None = None
    """Class, if it has one."""


class TextsDataset(TokenizableDataset):
    """Texts in the order of the file, all in memory.

    The file is UTF-8 text: JSON lines, each an object with ``text`` and optional ``label`` and ``tags``; or a table
    whose first line names these columns, separated by commas, semicolons or tabs.

    Args:
        samples: The texts.
        warnings: What was ignored in the file.
    """

    def __init__(self, samples: Sequence[TaggedText], warnings: Sequence[str]) -> None:
        self.samples = list(samples)
        """The texts, in the order of the file."""
        self.warnings = list(warnings)
        self._labels = _labels(self.samples)
        self.classes = list(self._labels.classes)

    @classmethod
    def open(cls, path: Path, settings: Settings) -> Self:
        """Read a file; see `DatasetReader.open`."""
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise invalid_dataset(f"A file of texts has at most {_MAX_BYTES:,} bytes. Split it.")
        if content.startswith(_ZIP):
            raise invalid_dataset(f"The file is a zip archive. Upload the text file itself: {_FORMS}.")
        text = decoded_text(content, _FILE)
        reader = _TextReader()
        rows = _json_rows(text) if text.lstrip().startswith("{") else _table_rows(text)
        for line, row in rows:
            reader.read(line, row)
        if not reader.samples:
            raise invalid_dataset(f"The file holds no texts. It needs {_FORMS}.")
        warnings = []
        if reader.unknown:
            warnings.append(f"ignored, unknown fields: {quoted_names(sorted(reader.unknown))}")
        return cls(reader.samples, warnings)

    @property
    def numbered(self) -> bool:
        """Whether labels are positions in the model's output, so that the last classes may have no samples."""
        return self._labels.numbered

    def __len__(self) -> int:
        return len(self.samples)

    def text(self, index: int) -> str:
        """Return a text."""
        return self.samples[index].text

    def verify(self, progress: ProgressFunction | None = None) -> DatasetContents:
        """Return the summary; everything was checked on opening."""
        if progress is not None:
            progress(1.0)
        return self.summary()

    def summary(self) -> DatasetContents:
        """Return the number of texts, in all and of each class."""
        return self._labels.summary(len(self), self.warnings)

    def sample_labels(self, model_labels: Sequence[str] | None) -> NDArray[np.int64] | None:
        """Return the class of each text in the order of the model's labels; see `TokenizableDataset.sample_labels`.

        Labels that are whole numbers from 0 are positions in the model's output, unless they are its labels.
        """
        labels = self._labels.labels
        if model_labels is not None and labels is not None and self.numbered:
            positions = {label: number for number, label in enumerate(model_labels)}
            names = [self.classes[number] for number in labels.tolist()]
            if set(names) <= set(positions):
                return np.array([positions[name] for name in names], np.int64)
        in_order = self._labels.in_model_order(model_labels)
        return None if in_order is None else np.asarray(in_order, np.int64)


class _TextReader:
    """Reads texts row by row; labels and tags are for all texts or for none of them."""

    def __init__(self) -> None:
        self.samples: list[TaggedText] = []
        self.unknown: set[str] = set()
        self._first = 0

    def read(self, line: int, row: Mapping[str, Any]) -> None:
        """Read one text.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the line.
        """
        self.unknown.update(name[:100] for name in row if name not in _FIELDS)
        text = row.get(_TEXT)
        if not isinstance(text, str) or not text.strip():
            raise _line_error(line, "has no 'text'" if text is None or text == "" else "has a 'text' that is no text")
        if len(text) > LONGEST_TEXT:
            raise _line_error(line, f"has a text of {len(text):,} characters; {LONGEST_TEXT:,} are the limit")
        label, tags = _label(line, row.get(_LABEL)), _tags(line, row.get(_TAGS))
        if tags and len(tags) != len(text.split()):
            raise _line_error(line, f"has {len(tags)} 'tags' for the {len(text.split())} words of its text")
        if self.samples and (label is None) is not (self.samples[0].label is None):
            here, there = ("no", "one") if label is None else ("a", "none")
            raise _line_error(line, f"has {here} 'label', line {self._first} has {there}. Label all texts or none")
        self._first = self._first or line
        self.samples.append(TaggedText(text, tags, label))


def _json_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except NotJsonError as error:
            raise _line_error(number, f"is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise _line_error(number, "must be an object with a 'text'")
        yield number, row


def _table_rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header: list[str] | None = None
    for line, row in table_rows(text, _FILE):
        if header is None:
            header = [name.lower() for name in row]
            if _TEXT not in header or len(set(header)) < len(header):
                raise _line_error(line, f"must name the columns, each once, with one named text. A file needs {_FORMS}")
            continue
        if len(row) != len(header):
            raise _line_error(line, f"has {len(row)} values, the first line names {len(header)} columns")
        values = dict(zip(header, row, strict=True))
        yield line, {name: value for name, value in values.items() if value or name == _TEXT}


def _label(line: int, value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    try:
        if isinstance(value, str):
            return check_name(value)
    except ValueError:
        pass
    raise _line_error(line, "has a 'label' that is no text of 1 to 200 printable characters")


def _tags(line: int, value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list) and all(isinstance(tag, str) and tag.strip() for tag in value):
        return tuple(value)
    raise _line_error(line, "has 'tags' that are no text")


def _labels(samples: Sequence[TaggedText]) -> Labels:
    counts = Counter(sample.label for sample in samples if sample.label is not None)
    if len(counts) > _MOST_CLASSES:
        raise invalid_dataset(f"The texts have {len(counts):,} labels; they may have {_MOST_CLASSES:,}.")
    if not counts:
        return Labels(None, [], False)
    numbers = numbered_names(counts)
    if numbers is not None and max(numbers.values()) < _MOST_CLASSES:
        values = np.array([numbers[sample.label or ""] for sample in samples], np.int64)
        return Labels(values, [str(number) for number in range(max(numbers.values()) + 1)], True)
    positions = {name: position for position, name in enumerate(sorted(counts))}
    values = np.array([positions[sample.label or ""] for sample in samples], np.int64)
    return Labels(values, list(positions), False)


def _line_error(line: int, detail: str) -> FaceterError:
    return invalid_dataset(f"Line {line} {detail}.")

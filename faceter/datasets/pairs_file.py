"""Reads text files line by line, and sentence pairs from the lines of ``pairs.jsonl``."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from faceter.contracts.base import check_name, composed
from faceter.contracts.errors import FaceterError
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.datasets.errors import invalid_dataset

PAIRS: Final = "pairs.jsonl"
"""Name of the file of pairs."""

SIDES: Final = ("premise", "hypothesis")
"""The two sentences of a pair."""

_FIELDS: Final = (*SIDES, "premise_tags", "hypothesis_tags", "label")
_NO_AGREEMENT: Final = "-"
"""Label of SNLI's pairs whose annotators did not agree."""
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class TextPair:
    """Two sentences, each as its tokens."""

    premise: tuple[str, ...]
    """The sentence taken as true."""
    hypothesis: tuple[str, ...]
    """The sentence that may follow from it."""
    premise_tags: tuple[str, ...] = ()
    """A tag for each token of the premise; empty if there are none."""
    hypothesis_tags: tuple[str, ...] = ()
    """A tag for each token of the hypothesis; empty if there are none."""
    label: str | None = None
    """Class of the pair, if it has one."""


def numbered_lines(chunks: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers from 1, one chunk in memory at a time.

    Args:
        chunks: The content of the file.
        name: Its name, for problem details.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming a line that is too long or not UTF-8 text.
    """
    rest = b""
    number = 0
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield number, _decoded(line, name, number)
        _validate_length(rest, name, number + 1)
    if rest:
        yield number + 1, _decoded(rest, name, number + 1)


class PairReader:
    """Parses the lines of ``pairs.jsonl`` in order; equal words share one string."""

    def __init__(self) -> None:
        self.pairs: list[TextPair] = []
        self.labels: list[str] = []
        """Of each pair; empty if they have none."""
        self.words: Counter[str] = Counter()
        """Occurrences of each word in the sentences."""
        self.unknown_fields: set[str] = set()
        self.without_agreement: list[int] = []
        """Lines that were passed over, since their label is ``-``: annotators did not agree."""
        self._first_line = 0
        self._interned: dict[str, str] = {}

    def read(self, line: int, text: str) -> None:
        """Parse a line.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming the line.
        """
        try:
            entry = read_json(text)
        except NotJsonError as error:
            raise line_error(PAIRS, line, f"is not JSON: {error}") from error
        if not isinstance(entry, dict):
            raise line_error(PAIRS, line, "must be an object with the texts 'premise' and 'hypothesis'")
        self.unknown_fields.update(name for name in entry if name not in _FIELDS)
        premise, hypothesis = (self._sentence(entry, side, line) for side in SIDES)
        if entry.get("label") == _NO_AGREEMENT:
            self.without_agreement.append(line)
            return
        label = self._label(entry, line)
        self.pairs.append(
            TextPair(
                premise=premise,
                hypothesis=hypothesis,
                premise_tags=self._tags(entry, "premise", premise, line),
                hypothesis_tags=self._tags(entry, "hypothesis", hypothesis, line),
                label=label,
            )
        )
        self.words.update(premise)
        self.words.update(hypothesis)

    def _sentence(self, entry: dict[str, Any], side: str, line: int) -> tuple[str, ...]:
        if side not in entry:
            raise line_error(PAIRS, line, f"has no '{side}'")
        tokens = self._tokens(entry, side, line)
        if not tokens:
            raise line_error(PAIRS, line, f"has an empty '{side}'")
        return tokens

    def _tags(self, entry: dict[str, Any], side: str, tokens: tuple[str, ...], line: int) -> tuple[str, ...]:
        field = f"{side}_tags"
        if entry.get(field) is None:
            return ()
        tags = self._tokens(entry, field, line)
        if len(tags) != len(tokens):
            raise line_error(PAIRS, line, f"has {len(tags)} '{field}' for the {len(tokens)} tokens of its {side}")
        return tags

    def _tokens(self, entry: dict[str, Any], field: str, line: int) -> tuple[str, ...]:
        if not isinstance(entry[field], str):
            raise line_error(PAIRS, line, f"has a '{field}' that is not text")
        return tuple(self._intern(token) for token in composed(entry[field]).split())

    def _label(self, entry: dict[str, Any], line: int) -> str | None:
        label = entry.get("label")
        if self.pairs and (label is None) is bool(self.labels):
            here, there = ("no", "one") if label is None else ("a", "none")
            raise line_error(
                PAIRS, line, f"has {here} 'label', line {self._first_line} has {there}. Label all pairs or none"
            )
        if not self.pairs:
            self._first_line = line
        if label is None:
            return None
        try:
            name = self._intern(composed(check_name(label))) if isinstance(label, str) else None
        except ValueError:
            name = None
        if name is None:
            raise line_error(PAIRS, line, "has a 'label' that is no text of 1 to 200 printable characters")
        self.labels.append(name)
        return name

    def _intern(self, text: str) -> str:
        return self._interned.setdefault(text, text)


def line_error(name: str, line: int, detail: str) -> FaceterError:
    """Return an ``INVALID_DATASET`` error for a line of a file."""
    return invalid_dataset(f"{name}: line {line} {detail}.")


def _decoded(line: bytes, name: str, number: int) -> str:
    _validate_length(line, name, number)
    try:
        return line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise line_error(name, number, f"is not UTF-8 text at byte {error.start}") from error


def _validate_length(line: bytes, name: str, number: int) -> None:
    if len(line) > _LONGEST_LINE:
        raise line_error(name, number, f"is longer than {_LONGEST_LINE:,} bytes")

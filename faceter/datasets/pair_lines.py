"""Reads the text files of datasets line by line, and sentence pairs from such lines."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from faceter.contracts.base import check_name
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json

PAIRS: Final = "pairs.jsonl"
"""Name of the file of pairs."""

SIDES: Final = ("premise", "hypothesis")
"""The two sentences of a pair."""

_FIELDS: Final = (*SIDES, "premise_tags", "hypothesis_tags", "label")
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class TextPair:
    """Two sentences, each as its tokens."""

    premise: tuple[str, ...]
    """What is given."""
    hypothesis: tuple[str, ...]
    """What may follow from it."""
    premise_tags: tuple[str, ...] = ()
    """A tag for each token of the premise; empty if there are none."""
    hypothesis_tags: tuple[str, ...] = ()
    """A tag for each token of the hypothesis; empty if there are none."""
    label: str | None = None
    """Class of the pair, if it has one."""


def lines_of(chunks: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers from 1, one chunk in memory at a time.

    Args:
        chunks: The file.
        name: Its name.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming a line that is too long or no UTF-8 text.
    """
    rest = b""
    number = 0
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            yield number, _decoded(line, name, number)
        _check_line(rest, name, number + 1)
    if rest:
        yield number + 1, _decoded(rest, name, number + 1)


class PairReader:
    """Takes the lines of ``pairs.jsonl`` one after the other; each different word is kept once."""

    def __init__(self) -> None:
        self.pairs: list[TextPair] = []
        self.labels: list[str] = []
        """Of each pair; empty if they have none."""
        self.words: Counter[str] = Counter()
        """How often each word of the sentences is there."""
        self.strangers: set[str] = set()
        """Fields that are not known."""
        self._first = 0
        self._known: dict[str, str] = {}

    def read(self, line: int, text: str) -> None:
        """Take a line.

        Raises:
            FaceterError: ``INVALID_DATASET`` naming it.
        """
        try:
            said = read_json(text)
        except NotJsonError as error:
            raise at_line(PAIRS, line, f"is not JSON: {error}") from error
        if not isinstance(said, dict):
            raise at_line(PAIRS, line, "must be an object with the texts 'premise' and 'hypothesis'")
        self.strangers.update(name for name in said if name not in _FIELDS)
        premise, hypothesis = (self._sentence(said, side, line) for side in SIDES)
        label = self._label(said, line)
        self.pairs.append(
            TextPair(
                premise=premise,
                hypothesis=hypothesis,
                premise_tags=self._tags(said, "premise", premise, line),
                hypothesis_tags=self._tags(said, "hypothesis", hypothesis, line),
                label=label,
            )
        )
        self.words.update(premise)
        self.words.update(hypothesis)

    def _sentence(self, said: dict[str, Any], side: str, line: int) -> tuple[str, ...]:
        if side not in said:
            raise at_line(PAIRS, line, f"has no '{side}'")
        tokens = self._tokens(said, side, line)
        if not tokens:
            raise at_line(PAIRS, line, f"has an empty '{side}'")
        return tokens

    def _tags(self, said: dict[str, Any], side: str, tokens: tuple[str, ...], line: int) -> tuple[str, ...]:
        field = f"{side}_tags"
        if said.get(field) is None:
            return ()
        tags = self._tokens(said, field, line)
        if len(tags) != len(tokens):
            raise at_line(PAIRS, line, f"has {len(tags)} '{field}' for the {len(tokens)} tokens of its {side}")
        return tags

    def _tokens(self, said: dict[str, Any], field: str, line: int) -> tuple[str, ...]:
        if not isinstance(said[field], str):
            raise at_line(PAIRS, line, f"has a '{field}' that is not text")
        return tuple(self._once(token) for token in said[field].split())

    def _label(self, said: dict[str, Any], line: int) -> str | None:
        label = said.get("label")
        if self.pairs and (label is None) is bool(self.labels):
            here, there = ("no", "one") if label is None else ("a", "none")
            raise at_line(PAIRS, line, f"has {here} 'label', line {self._first} has {there}. Label all pairs or none")
        if not self.pairs:
            self._first = line
        if label is None:
            return None
        try:
            name = self._once(check_name(label)) if isinstance(label, str) else None
        except ValueError:
            name = None
        if name is None:
            raise at_line(PAIRS, line, "has a 'label' that is no text of 1 to 200 printable characters")
        self.labels.append(name)
        return name

    def _once(self, text: str) -> str:
        return self._known.setdefault(text, text)


def invalid(detail: str) -> FaceterError:
    """Return the error for a dataset that has not its form."""
    return FaceterError(ProblemKind.INVALID_DATASET, detail)


def at_line(name: str, line: int, detail: str) -> FaceterError:
    """Return the error for a line of a file."""
    return invalid(f"{name}: line {line} {detail}.")


def _decoded(line: bytes, name: str, number: int) -> str:
    _check_line(line, name, number)
    try:
        return line.removesuffix(b"\r").decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise at_line(name, number, f"is not UTF-8 text at byte {error.start}") from error


def _check_line(line: bytes, name: str, number: int) -> None:
    if len(line) > _LONGEST_LINE:
        raise at_line(name, number, f"is longer than {_LONGEST_LINE:,} bytes")

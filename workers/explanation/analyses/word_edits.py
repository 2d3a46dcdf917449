"""Edits of sentence pairs: words inserted and removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from faceter.datasets.pairs_file import TextPair

SIDES: Final = {"pre": "premise", "hyp": "hypothesis"}
"""Names of the sides by the prefix of concepts."""

FULL_STOPS: Final = frozenset({".", "!", "?"})


@dataclass(frozen=True)
class WordEdit:
    """A word to insert or to remove."""

    insert: bool
    """Insert if true, else remove."""
    side: str
    """``pre`` or ``hyp``."""
    word: str
    """The word."""

    @property
    def text(self) -> str:
        """The edit as text."""
        if self.insert:
            return f"insert '{self.word}' into the {SIDES[self.side]}"
        return f"remove '{self.word}' from the {SIDES[self.side]}"

    def changes(self, pair: TextPair) -> bool:
        """Return whether the edit changes a pair."""
        return (self.word in words_of(pair, self.side)) is not self.insert

    def applied_to(self, pair: TextPair) -> TextPair:
        """Return the edited pair without tags: words are inserted before the full stop and removed everywhere."""
        words = words_of(pair, self.side)
        if self.insert:
            place = len(words) - 1 if words and words[-1] in FULL_STOPS else len(words)
            words = (*words[:place], self.word, *words[place:])
        else:
            words = tuple(word for word in words if word != self.word)
        premise, hypothesis = (words, pair.hypothesis) if self.side == "pre" else (pair.premise, words)
        return TextPair(premise=premise, hypothesis=hypothesis, premise_tags=(), hypothesis_tags=(), label=pair.label)


@dataclass(frozen=True)
class PairEdit:
    """Words to insert and remove together."""

    edits: tuple[WordEdit, ...]
    """The single edits."""
    formula: str = ""
    """The formula that proposes it."""
    unit: int = -1
    """The unit of the formula."""
    layer: str | None = None
    """The layer of the unit."""

    @property
    def text(self) -> str:
        """The edit as text."""
        return " and ".join(edit.text for edit in self.edits)

    def needed(self, pair: TextPair) -> list[WordEdit]:
        """Return the edits that change a pair; none if a side would have no words left."""
        needed = [edit for edit in self.edits if edit.changes(pair)]
        after = self.applied_to(pair)
        empty = any(all(word in FULL_STOPS for word in words_of(after, side)) for side in SIDES)
        return [] if empty else needed

    def applied_to(self, pair: TextPair) -> TextPair:
        """Return the pair after all edits that change it."""
        for edit in self.edits:
            if edit.changes(pair):
                pair = edit.applied_to(pair)
        return pair


def words_of(pair: TextPair, side: str) -> tuple[str, ...]:
    """Return the words of one side, ``pre`` or ``hyp``."""
    return pair.premise if side == "pre" else pair.hypothesis

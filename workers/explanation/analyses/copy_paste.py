"""Change sentence pairs by what formulas say, and see whether predictions follow as foretold.

References:
    Mu, Andreas, "Compositional explanations of units", NeurIPS 2020, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import CopyPasteRequest, CopyPasteResult, Edit, SuccessRate
from faceter.contracts.explanations import FormulaNode, Operator, Unit
from faceter.datasets.pair_lines import TextPair

Probabilities = Callable[[Sequence[TextPair]], NDArray[np.float64]]
"""Returns the model's class probabilities for pairs, [N, K]."""

_SIDES = {"pre": "premise", "hyp": "hypothesis"}
_ENDS = frozenset({".", "!", "?"})
_Z = 1.959963984540054
_EXAMPLES = 20
_DRAWN = 50


@dataclass(frozen=True)
class WordEdit:
    """A word to put in or take out."""

    insert: bool
    """Whether to put it in."""
    side: str
    """``pre`` or ``hyp``."""
    word: str
    """The word."""

    @property
    def text(self) -> str:
        """In words."""
        if self.insert:
            return f"insert '{self.word}' into the {_SIDES[self.side]}"
        return f"remove '{self.word}' from the {_SIDES[self.side]}"

    def changes(self, pair: TextPair) -> bool:
        """Whether it would change a pair."""
        return (self.word in _side(pair, self.side)) is not self.insert

    def applied_to(self, pair: TextPair) -> TextPair:
        """Return the pair with the word put in before the full stop, or taken out wherever it is; tags are dropped."""
        words = _side(pair, self.side)
        if self.insert:
            place = len(words) - 1 if words and words[-1] in _ENDS else len(words)
            words = (*words[:place], self.word, *words[place:])
        else:
            words = tuple(word for word in words if word != self.word)
        premise, hypothesis = (words, pair.hypothesis) if self.side == "pre" else (pair.premise, words)
        return TextPair(premise=premise, hypothesis=hypothesis, premise_tags=(), hypothesis_tags=(), label=pair.label)


@dataclass(frozen=True)
class Change:
    """Words to put in and take out together."""

    edits: tuple[WordEdit, ...]
    """They."""
    formula: str = ""
    """The formula that proposes it."""
    unit: int = -1
    """Its unit."""

    @property
    def text(self) -> str:
        """In words."""
        return " and ".join(edit.text for edit in self.edits)

    def needed(self, pair: TextPair) -> list[WordEdit]:
        """Return the edits that change a pair; none if it is so already, or a side would be left without words."""
        needed = [edit for edit in self.edits if edit.changes(pair)]
        after = self.applied_to(pair)
        empty = any(all(word in _ENDS for word in _side(after, side)) for side in _SIDES)
        return [] if empty else needed

    def applied_to(self, pair: TextPair) -> TextPair:
        """Return the pair with all edits made that change it."""
        for edit in self.edits:
            if edit.changes(pair):
                pair = edit.applied_to(pair)
        return pair


def proposals(units: Sequence[Unit], label: str, count: int) -> list[Change]:
    """Return the changes that formulas propose to bring a class about.

    Formulas of units with a high weight to the class are made true: of each alternative, what it asks for is put in
    and what it excludes is taken out. Those of units with a low weight are made false: a word asked for is taken out,
    or one excluded is put in. Words only: tags and overlaps are not changed.

    Args:
        units: All units, with their weights to classes.
        label: The class.
        count: How many of the highest weight, and of the lowest.
    """
    weighted = sorted(
        ((weight, unit) for unit in units if unit.tree is not None and (weight := _weight(unit, label)) is not None),
        key=lambda pair: (-pair[0], pair[1].layer, pair[1].unit),
    )
    chosen = [(unit, True) for weight, unit in weighted[:count] if weight > 0]
    chosen += [(unit, False) for weight, unit in reversed(weighted[-count:]) if weight < 0]
    changes: dict[tuple[WordEdit, ...], Change] = {}
    for unit, wanted in chosen:
        for literals in alternatives(unit.tree):
            edits = [
                WordEdit(asked is wanted, side, word)
                for name, asked in literals
                for side, kind, word in [(*name.split(":", 2), "", "")[:3]]
                if kind == "tok" and side in _SIDES
            ]
            for part in [tuple(edits)] if wanted else [(edit,) for edit in edits]:
                if part:
                    changes.setdefault(part, Change(part, unit.formula or "", unit.unit))
    return list(changes.values())


def alternatives(tree: FormulaNode | None) -> list[tuple[tuple[str, bool], ...]]:
    """Return the ways in which a formula is true: for each, concepts, and whether it asks for or excludes them.

    ``(a OR b) AND NOT c`` is true where a is and c is not, or b is and c is not.
    """
    if tree is None:
        return []
    if tree.concept is not None:
        return [((tree.concept, True),)]
    first = alternatives(tree.parts[0])
    if tree.operator is Operator.NEIGHBORS:
        return first
    second = alternatives(tree.parts[1])
    if tree.operator is Operator.OR:
        return [*first, *second]
    if tree.operator is Operator.AND:
        return [(*one, *other) for one in first for other in second]
    excluded = tuple((name, False) for other in second for name, _ in other)
    return [(*one, *excluded) for one in first]


def copy_paste(
    units: Sequence[Unit],
    pairs: Sequence[TextPair],
    labels: Sequence[str],
    probabilities: Probabilities,
    request: CopyPasteRequest,
) -> CopyPasteResult:
    """Try changes that formulas propose beside changes with random words.

    Args:
        units: All units.
        pairs: All samples.
        labels: Names of the classes.
        probabilities: The model.
        request: The class, and how many tries.
    """
    rng = np.random.default_rng(request.seed)
    wanted = list(labels).index(request.label)
    changes = proposals(units, request.label, request.units)
    before = probabilities(pairs)
    others = np.flatnonzero(before.argmax(axis=1) != wanted)
    words = {side: sorted({word for pair in pairs for word in _side(pair, side)}) for side in _SIDES}
    tries: list[tuple[int, Change, Change]] = []
    for index in rng.permutation(others).tolist():
        fitting = [change for change in changes if change.needed(pairs[index])]
        if fitting and len(tries) < request.tries:
            change = fitting[int(rng.integers(len(fitting)))]
            control = _control(change, pairs[index], words, rng)
            if control is not None:
                tries.append((index, change, control))
    edited = probabilities([change.applied_to(pairs[index]) for index, change, _ in tries]) if tries else before[:0]
    random = probabilities([control.applied_to(pairs[index]) for index, _, control in tries]) if tries else before[:0]
    at = before[[index for index, _, _ in tries]]
    return CopyPasteResult(
        label=request.label,
        proposed=_rate(at, edited, wanted),
        control=_rate(at, random, wanted),
        changes=[change.text for change in changes],
        examples=_examples(tries, pairs, labels, at, edited, wanted),
    )


def wilson(successes: int, tries: int) -> list[float]:
    """Return the 95 % confidence interval of a share (Wilson 1927)."""
    if tries == 0:
        return [0.0, 1.0]
    share = successes / tries
    middle = share + _Z**2 / (2 * tries)
    reach = _Z * math.sqrt(share * (1 - share) / tries + _Z**2 / (4 * tries**2))
    scale = 1 + _Z**2 / tries
    return [max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)]


def _control(change: Change, pair: TextPair, words: dict[str, list[str]], rng: np.random.Generator) -> Change | None:
    """Return a change with as many edits of the same sort, of words drawn at random; None if there are none."""
    edits: list[WordEdit] = []
    for edit in change.needed(pair):
        known = words[edit.side] if edit.insert else sorted(set(_side(pair, edit.side)))
        for word in rng.permutation(known)[:_DRAWN].tolist():
            drawn = WordEdit(edit.insert, edit.side, str(word))
            if word not in _ENDS and Change((*edits, drawn)).needed(pair) == [*edits, drawn]:
                edits.append(drawn)
                break
        else:
            return None
    return Change(tuple(edits))


def _rate(before: NDArray[np.float64], after: NDArray[np.float64], wanted: int) -> SuccessRate:
    successes = int((after.argmax(axis=1) == wanted).sum()) if len(after) else 0
    return SuccessRate(
        tries=len(after),
        successes=successes,
        rate=successes / len(after) if len(after) else 0.0,
        interval=wilson(successes, len(after)),
        probability_gain=float((after[:, wanted] - before[:, wanted]).mean()) if len(after) else 0.0,
    )


def _examples(
    tries: Sequence[tuple[int, Change, Change]],
    pairs: Sequence[TextPair],
    labels: Sequence[str],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    wanted: int,
) -> list[Edit]:
    """Return the changes that brought the class about, those that gained the most first."""
    gains = after[:, wanted] - before[:, wanted]
    order = [row for row in np.argsort(-gains, kind="stable") if after[row].argmax() == wanted]
    return [
        Edit(
            index=tries[row][0],
            change=tries[row][1].text,
            formula=tries[row][1].formula,
            unit=tries[row][1].unit,
            before=_texts(pairs[tries[row][0]]),
            after=_texts(tries[row][1].applied_to(pairs[tries[row][0]])),
            predicted_before=labels[int(before[row].argmax())],
            predicted_after=labels[int(after[row].argmax())],
            probability_before=float(before[row, wanted]),
            probability_after=float(after[row, wanted]),
        )
        for row in order[:_EXAMPLES]
    ]


def _weight(unit: Unit, label: str) -> float | None:
    return next((one.weight for one in unit.classes if one.label == label), None)


def _side(pair: TextPair, side: str) -> tuple[str, ...]:
    return pair.premise if side == "pre" else pair.hypothesis


def _texts(pair: TextPair) -> list[str]:
    return [" ".join(pair.premise), " ".join(pair.hypothesis)]

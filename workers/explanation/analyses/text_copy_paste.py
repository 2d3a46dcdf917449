"""Copy-paste adversarial examples of sentence pairs: words that formulas propose, against random words.

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import CopyPasteRequest, CopyPasteResult, Edit
from faceter.contracts.units import Unit
from faceter.datasets.pairs_file import TextPair
from workers.explanation.analyses.edit_proposals import proposed_edits
from workers.explanation.analyses.success_rate import success_rate
from workers.explanation.analyses.word_edits import FULL_STOPS, SIDES, PairEdit, WordEdit, words_of

Floats = NDArray[np.float64]

Probabilities = Callable[[Sequence[TextPair]], Floats]
"""Returns class probabilities of pairs, [N, C]."""

_MAX_EXAMPLES = 20
_MAX_DRAWS = 50


def copy_paste_pairs(
    units: Sequence[Unit],
    pairs: Sequence[TextPair],
    labels: Sequence[str],
    probabilities: Probabilities,
    request: CopyPasteRequest,
) -> CopyPasteResult:
    """Edit pairs that are not predicted as a class, as formulas propose, and with random words as a control.

    Args:
        units: All units.
        pairs: All samples.
        labels: Names of the C classes.
        probabilities: The model.
        request: The class, and the number of tries.
    """
    rng = np.random.default_rng(request.seed)
    target = list(labels).index(request.label)
    proposals = proposed_edits(units, request.label, request.units)
    before = probabilities(pairs)
    others = np.flatnonzero(before.argmax(axis=1) != target)
    words = {side: sorted({word for pair in pairs for word in words_of(pair, side)}) for side in SIDES}
    tries: list[tuple[int, PairEdit, PairEdit]] = []
    for index in rng.permutation(others).tolist():
        applicable = [edit for edit in proposals if edit.needed(pairs[index])]
        if applicable and len(tries) < request.tries:
            edit = applicable[int(rng.integers(len(applicable)))]
            control = _control(edit, pairs[index], words, rng)
            if control is not None:
                tries.append((index, edit, control))
    edited = probabilities([edit.applied_to(pairs[index]) for index, edit, _ in tries]) if tries else before[:0]
    random = probabilities([control.applied_to(pairs[index]) for index, _, control in tries]) if tries else before[:0]
    original = before[[index for index, _, _ in tries]]
    return CopyPasteResult(
        label=request.label,
        proposed=success_rate(original, edited, target, edited.argmax(axis=1) == target),
        control=success_rate(original, random, target, random.argmax(axis=1) == target),
        changes=[edit.text for edit in proposals],
        examples=_examples(tries, pairs, labels, original, edited, target),
    )


def _control(edit: PairEdit, pair: TextPair, words: dict[str, list[str]], rng: np.random.Generator) -> PairEdit | None:
    """Return an edit of as many random words, on the same sides; None if none were found."""
    edits: list[WordEdit] = []
    for needed in edit.needed(pair):
        known = words[needed.side] if needed.insert else sorted(set(words_of(pair, needed.side)))
        for word in rng.permutation(known)[:_MAX_DRAWS].tolist():
            drawn = WordEdit(needed.insert, needed.side, str(word))
            if word not in FULL_STOPS and PairEdit((*edits, drawn)).needed(pair) == [*edits, drawn]:
                edits.append(drawn)
                break
        else:
            return None
    return PairEdit(tuple(edits))


def _examples(
    tries: Sequence[tuple[int, PairEdit, PairEdit]],
    pairs: Sequence[TextPair],
    labels: Sequence[str],
    before: Floats,
    after: Floats,
    target: int,
) -> list[Edit]:
    """Return the successful edits, highest gain in probability first."""
    gains = after[:, target] - before[:, target]
    order = [row for row in np.argsort(-gains, kind="stable") if after[row].argmax() == target]
    return [
        Edit(
            index=tries[row][0],
            change=tries[row][1].text,
            formula=tries[row][1].formula,
            unit=tries[row][1].unit,
            layer=tries[row][1].layer,
            before=_texts(pairs[tries[row][0]]),
            after=_texts(tries[row][1].applied_to(pairs[tries[row][0]])),
            predicted_before=labels[int(before[row].argmax())],
            predicted_after=labels[int(after[row].argmax())],
            probability_before=float(before[row, target]),
            probability_after=float(after[row, target]),
        )
        for row in order[:_MAX_EXAMPLES]
    ]


def _texts(pair: TextPair) -> list[str]:
    return [" ".join(pair.premise), " ".join(pair.hypothesis)]

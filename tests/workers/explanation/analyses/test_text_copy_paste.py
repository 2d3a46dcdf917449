"""Edits of sentence pairs that formulas propose, and their success rate."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest  # type: ignore[attr-defined]

from faceter.contracts.analyses import CopyPasteRequest
from faceter.contracts.explanations import Operator
from faceter.contracts.units import Unit
from faceter.datasets.pairs_file import TextPair
from faceter.explanations.formulas import Concept, Formula
from tests.workers.explanation.unit_examples import explained_unit
from workers.explanation.analyses.edit_proposals import alternatives, proposed_edits
from workers.explanation.analyses.success_rate import wilson_interval
from workers.explanation.analyses.text_copy_paste import copy_paste_pairs
from workers.explanation.analyses.word_edits import PairEdit, WordEdit

NAMES = ["pre:tok:dog", "hyp:tok:nobody", "hyp:tok:man", "hyp:tag:NN", "overlap-50"]
CONCEPTS = [*(Concept(name, "words") for name in NAMES), Concept("NEIGHBORS(pre:tok:dog)", "words", "pre:tok:dog")]


def unit(number: int, weight: float, first: int, *rest: tuple[Operator, int]) -> Unit:
    return explained_unit(number, Formula(first, rest), CONCEPTS, weights={"no": weight, "yes": -weight})


def pair(premise: str, hypothesis: str) -> TextPair:
    return TextPair(tuple(premise.split()), tuple(hypothesis.split()), (), (), None)


def texts(changes: Sequence[PairEdit]) -> list[str]:
    return [change.text for change in changes]


def test_a_word_is_put_in_before_the_full_stop_and_taken_out_wherever_it_is() -> None:
    sentence = pair("a dog .", "man sees man .")
    assert WordEdit(True, "hyp", "nobody").applied_to(sentence).hypothesis == ("man", "sees", "man", "nobody", ".")
    assert WordEdit(False, "hyp", "man").applied_to(sentence).hypothesis == ("sees", ".")
    assert WordEdit(True, "pre", "cat").applied_to(pair("a dog", "x")).premise == ("a", "dog", "cat")


def test_a_change_is_needed_only_where_it_changes_something_and_leaves_words() -> None:
    change = PairEdit((WordEdit(True, "hyp", "nobody"), WordEdit(False, "pre", "dog")))
    assert change.needed(pair("a dog .", "man .")) == list(change.edits)
    assert change.needed(pair("a cat .", "man .")) == [change.edits[0]]
    assert change.needed(pair("a cat .", "nobody .")) == []
    assert change.needed(pair("dog .", "man .")) == []


def test_the_ways_in_which_a_formula_is_true() -> None:
    formula = Formula(0, ((Operator.OR, 1), (Operator.AND_NOT, 2), (Operator.AND, 3)))
    assert alternatives(formula.tree(CONCEPTS)) == [
        ((NAMES[0], True), (NAMES[2], False), (NAMES[3], True)),
        ((NAMES[1], True), (NAMES[2], False), (NAMES[3], True)),
    ]
    assert alternatives(Formula(5).tree(CONCEPTS)) == [((NAMES[0], True),)]


def test_formulas_of_high_weight_are_made_true_and_those_of_low_weight_false() -> None:
    high = unit(0, 2.0, 1, (Operator.AND, 0), (Operator.AND_NOT, 2))
    low = unit(1, -1.0, 0, (Operator.AND_NOT, 1))
    words = "insert 'nobody' into the hypothesis and insert 'dog' into the premise and remove 'man' from the hypothesis"
    assert texts(proposed_edits([low, high], "no", 5)) == [
        words,
        "remove 'dog' from the premise",
        "insert 'nobody' into the hypothesis",
    ]


def test_tags_and_overlaps_propose_nothing() -> None:
    assert proposed_edits([unit(0, 1.0, 3, (Operator.OR, 4))], "no", 5) == []
    assert proposed_edits([unit(0, 1.0, 1)], "maybe", 5) == []


def nobody_classifier(pairs: Sequence[TextPair]) -> NDArray[np.float64]:
    no = np.array([0.9 if "nobody" in one.hypothesis else 0.2 for one in pairs])
    return np.stack([no, 1 - no], axis=1)


def test_success_of_proposed_edits_against_random_edits() -> None:
    pairs = [pair("a dog runs .", f"word{number} man sleeps .") for number in range(50)]
    request = CopyPasteRequest(label="no", tries=40, seed=3)
    units = [unit(0, 1.0, 1), unit(1, 0.5, 0)]
    result = copy_paste_pairs([units[0]], pairs, ["no", "yes"], nobody_classifier, request)
    assert (result.proposed.tries, result.proposed.rate, result.control.rate) == (40, 1.0, 0.0)
    assert result.proposed.probability_gain == pytest.approx(0.7)
    assert result.control.probability_gain == 0
    assert all(edit.predicted_before == "yes" for edit in result.examples)
    assert all("nobody" in edit.after[1] for edit in result.examples)


def test_inputs_predicted_as_the_class_are_not_edited() -> None:
    pairs = [pair("a dog .", "nobody runs ."), pair("a dog .", "man runs .")]
    result = copy_paste_pairs([unit(0, 1.0, 1)], pairs, ["no", "yes"], nobody_classifier, CopyPasteRequest(label="no"))
    assert result.proposed.tries == 1
    assert result.examples[0].index == 1


def test_without_tries_the_rate_is_zero() -> None:
    result = copy_paste_pairs([], [pair("a .", "b .")], ["no", "yes"], nobody_classifier, CopyPasteRequest(label="no"))
    assert (result.proposed.tries, result.proposed.rate, result.proposed.interval) == (0, 0.0, [0.0, 1.0])


@pytest.mark.parametrize(("successes", "tries"), [(0, 10), (3, 10), (57, 100), (200, 200)])
def test_the_interval_is_wilsons(successes: int, tries: int) -> None:
    expected = binomtest(successes, tries).proportion_ci(method="wilson")
    low, high = wilson_interval(successes, tries)
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert (low == 0, high == 1) == (successes == 0, successes == tries)

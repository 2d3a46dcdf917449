"""Small datasets of pixels with concepts, and units that fire at some of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.search.patterns import Floats, Patterns

OPERATORS = (Operator.OR, Operator.AND, Operator.AND_NOT)
SOME_OPERATORS = st.lists(st.sampled_from(OPERATORS), min_size=1, unique=True).map(
    lambda chosen: tuple(operator for operator in OPERATORS if operator in chosen)
)
PENALTIES = st.sampled_from([1.0, 0.95, 0.5])


def patterns_of_sets(sets: Sequence[Sequence[int]], weights: Sequence[int], concept_count: int) -> Patterns:
    """Return the patterns with these sets of distinct concepts, and so many pixels each."""
    lengths = [len(concepts) for concepts in sets]
    members = list(chain.from_iterable(sorted(concepts) for concepts in sets))
    starts = np.cumsum([0, *lengths], dtype=np.int64)
    return Patterns(np.asarray(weights, np.int64), starts, np.asarray(members, np.int64), concept_count)


@dataclass(frozen=True)
class ToyData:
    """Concept masks and firing masks of some pixels."""

    concepts: NDArray[np.bool_]
    """[K, pixels]."""
    units: NDArray[np.bool_]
    """[U, pixels]."""

    @property
    def pattern_of_pixels(self) -> NDArray[np.int64]:
        """int64 [pixels]."""
        _, inverse = np.unique(self.concepts.T, axis=0, return_inverse=True)
        return inverse.reshape(-1)

    @property
    def patterns(self) -> Patterns:
        """The pixels as patterns."""
        sets, counts = np.unique(self.concepts.T, axis=0, return_counts=True)
        return patterns_of_sets([np.flatnonzero(row).tolist() for row in sets], counts.tolist(), len(self.concepts))

    @property
    def fires(self) -> Floats:
        """u, float64 [U, P]."""
        patterns = self.pattern_of_pixels
        return np.stack([np.bincount(patterns[unit], minlength=patterns.max() + 1) for unit in self.units]).astype(
            float
        )

    def mask(self, formula: Formula) -> NDArray[np.bool_]:
        """Return a formula's mask, pixel by pixel."""
        mask: NDArray[np.bool_] = self.concepts[formula.first].copy()
        for operator, concept in formula.rest:
            other = self.concepts[concept]
            mask = {Operator.OR: mask | other, Operator.AND: mask & other, Operator.AND_NOT: mask & ~other}[operator]
        return mask


def random_toy_data(seed: int, concepts: int, pixels: int, units: int, share: float = 0.3) -> ToyData:
    """Return data with overlapping concepts and units that prefer some patterns."""
    rng = np.random.default_rng(seed)
    carried = rng.random((concepts, pixels)) < rng.random((concepts, 1)) * 2 * share
    preference = rng.random((units, concepts)) * rng.choice([-1, 1], (units, concepts))
    activation = preference @ carried + rng.normal(0, 0.5, (units, pixels))
    fires = activation > np.quantile(activation, 0.7, axis=1, keepdims=True)
    fires[:, 0] = True
    return ToyData(carried, fires)


@st.composite
def toy_data(draw: st.DrawFn, most_concepts: int = 5, most_pixels: int = 40) -> ToyData:
    """Draw data: concepts may be equal, empty or everywhere; each unit fires at least once."""
    concepts = draw(st.integers(1, most_concepts))
    pixels = draw(st.integers(1, most_pixels))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    shares = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0], concepts)
    carried = rng.random((concepts, pixels)) < shares[:, None]
    if concepts > 1 and draw(st.booleans()):
        carried[1] = carried[0]
    units = rng.random((draw(st.integers(1, 3)), pixels)) < rng.choice([0.05, 0.5, 1.0])
    units[:, rng.integers(pixels)] = True
    return ToyData(carried, units)


def text(formula: Formula) -> str:
    """Return a formula in the notation of `tests.references.compositional`."""
    formula_text = str(formula.first)
    for operator, concept in formula.rest:
        formula_text = f"({formula_text} {operator.value} {concept})"
    return formula_text

"""Small worlds of pixels with concepts, and units that fire at some of them."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.patterns import Floats, Patterns

OPERATORS = (Operator.OR, Operator.AND, Operator.AND_NOT)


@dataclass(frozen=True)
class World:
    """Pixels, the concepts they carry, and where units fire."""

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
        """The same pixels as patterns."""
        sets, counts = np.unique(self.concepts.T, axis=0, return_counts=True)
        return Patterns.of([np.flatnonzero(row).tolist() for row in sets], counts, len(self.concepts))

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


def random_world(seed: int, concepts: int, pixels: int, units: int, share: float = 0.3) -> World:
    """Return a world in which concepts overlap and units like some patterns more than others."""
    rng = np.random.default_rng(seed)
    carried = rng.random((concepts, pixels)) < rng.random((concepts, 1)) * 2 * share
    taste = rng.random((units, concepts)) * rng.choice([-1, 1], (units, concepts))
    liking = taste @ carried + rng.normal(0, 0.5, (units, pixels))
    fires = liking > np.quantile(liking, 0.7, axis=1, keepdims=True)
    fires[:, 0] = True
    return World(carried, fires)


@st.composite
def worlds(draw: st.DrawFn, most_concepts: int = 5, most_pixels: int = 40) -> World:
    """Draw a world: concepts may be equal, empty or everywhere, units fire once at least."""
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
    return World(carried, units)


def text(formula: Formula) -> str:
    """Return a formula as the references write it."""
    said = str(formula.first)
    for operator, concept in formula.rest:
        said = f"({said} {operator.value} {concept})"
    return said

"""What kinds of abstraction formulas are.

References:
    Mu, Andreas, "Compositional explanations of units", NeurIPS 2020, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import Abstraction, AbstractionsRequest, AbstractionsResult, UnitAbstraction
from faceter.contracts.explanations import FormulaNode, Operator, Unit
from faceter.explanations.formulas import concepts_of

Related = Callable[[str, str], bool]
"""Whether two concepts, by name, are related."""


def abstractions(
    units: Sequence[Unit],
    request: AbstractionsRequest,
    vectors: dict[str, NDArray[np.float64]] | None,
    together: Related,
) -> AbstractionsResult:
    """Sort formulas by kind.

    Args:
        units: All units.
        request: What tells relatedness.
        vectors: Of concepts, from the dataset; used if the request brings nothing.
        together: Whether two concepts are in the same samples more often than chance.
    """
    explained = [unit for unit in units if unit.tree is not None and unit.formula is not None]
    names = dict.fromkeys(name for unit in explained if unit.tree for name in concepts_of(unit.tree))
    by, related, known = _relatedness(request, vectors, together)
    sorted_units = [
        UnitAbstraction(
            layer=unit.layer,
            unit=unit.unit,
            formula=unit.formula or "",
            score=unit.score,
            kind=kind_of(unit.tree, related, together),
        )
        for unit in explained
        if unit.tree is not None
    ]
    count = max(1, len(sorted_units))
    return AbstractionsResult(
        by=by,
        shares={kind: sum(item.kind is kind for item in sorted_units) / count for kind in Abstraction},
        units=sorted_units,
        unknown=[] if known is None else sorted(name for name in names if name not in known),
    )


def kind_of(tree: FormulaNode, related: Related, together: Related) -> Abstraction:
    """Return what kind of abstraction a formula is.

    Something narrowed down is specialized, whatever it is made of. Alternatives are coherent if what is related in
    meaning holds all of them together, incoherent if what goes together in the data does, else polysemantic.
    """
    names = list(dict.fromkeys(concepts_of(tree)))
    if len(names) == 1:
        return Abstraction.SINGLE
    if _narrows(tree):
        return Abstraction.SPECIALIZED
    if connected(names, related):
        return Abstraction.COHERENT
    if connected(names, lambda one, other: related(one, other) or together(one, other)):
        return Abstraction.INCOHERENT
    return Abstraction.POLYSEMANTIC


def connected(names: Sequence[str], related: Related) -> bool:
    """Whether each can be reached from each over related ones."""
    reached, waiting = {names[0]}, [names[0]]
    while waiting:
        one = waiting.pop()
        new = [other for other in names if other not in reached and (related(one, other) or related(other, one))]
        reached.update(new)
        waiting.extend(new)
    return len(reached) == len(set(names))


def together_in(presence: Iterable[set[str]], names: Sequence[str], least: float) -> Related:
    """Return what tells whether two concepts are in the same samples more often than chance.

    Args:
        presence: Concepts of each sample.
        names: The concepts of interest.
        least: Pointwise mutual information, in nats, that there must be: 0 for those that are in every sample.
    """
    wanted = set(names)
    single: dict[str, int] = dict.fromkeys(names, 0)
    pairs: dict[tuple[str, str], int] = {}
    total = 0
    for concepts in presence:
        total += 1
        here = sorted(concepts & wanted)
        for name in here:
            single[name] += 1
        for pair in combinations(here, 2):
            pairs[pair] = pairs.get(pair, 0) + 1

    def together(one: str, other: str) -> bool:
        both = pairs.get((min(one, other), max(one, other)), 0)
        return both > 0 and math.log(both * total / (single[one] * single[other])) >= least

    return together


def _narrows(tree: FormulaNode) -> bool:
    return tree.operator in (Operator.AND, Operator.AND_NOT) or any(_narrows(part) for part in tree.parts)


def _relatedness(
    request: AbstractionsRequest, vectors: dict[str, NDArray[np.float64]] | None, together: Related
) -> tuple[str, Related, set[str] | None]:
    """Return what tells relatedness, in a word and as a function, and the names it knows; None if all."""
    if request.taxonomy is not None:
        groups: dict[str, set[str]] = {}
        for group, names in request.taxonomy.items():
            for name in names:
                groups.setdefault(name, set()).add(group)
        return "taxonomy", lambda one, other: bool(groups.get(one, set()) & groups.get(other, set())), set(groups)
    if request.embedding is not None:
        brought = {name: np.array(vector, np.float64) for name, vector in request.embedding.items()}
        return "embedding", _by_cosine(brought, request.related_from), set(brought)
    if vectors is not None:
        return "vectors", _by_cosine(vectors, request.related_from), set(vectors)
    return "cooccurrence", together, None


def _by_cosine(vectors: dict[str, NDArray[np.float64]], least: float) -> Related:
    def related(one: str, other: str) -> bool:
        if one not in vectors or other not in vectors:
            return False
        first, second = vectors[one], vectors[other]
        norm = float(np.linalg.norm(first) * np.linalg.norm(second))
        return norm > 0 and float(first @ second) / norm >= least

    return related

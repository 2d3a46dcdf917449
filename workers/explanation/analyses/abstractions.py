"""Kinds of abstraction: coherent, incoherent, specialized and polysemantic formulas.

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.analyses import Abstraction, AbstractionsRequest, AbstractionsResult, UnitAbstraction
from faceter.contracts.explanations import Operator
from faceter.contracts.units import FormulaNode, Unit
from faceter.explanations.formulas import concepts_of

Related = Callable[[str, str], bool]
"""Whether two concepts, by name, are related."""


def abstractions(
    units: Sequence[Unit],
    request: AbstractionsRequest,
    vectors: dict[str, NDArray[np.float64]] | None,
    cooccur: Related,
) -> AbstractionsResult:
    """Classify the formulas of all units.

    Args:
        units: All units.
        request: May have a taxonomy or an embedding.
        vectors: Embedding from the dataset, used if the request has none.
        cooccur: Whether two concepts co-occur in samples more often than by chance.
    """
    explained = [unit for unit in units if unit.tree is not None and unit.formula is not None]
    names = dict.fromkeys(name for unit in explained if unit.tree for name in concepts_of(unit.tree))
    by, related, known = _relatedness(request, vectors, cooccur)
    classified = [
        UnitAbstraction(
            layer=unit.layer,
            unit=unit.unit,
            formula=unit.formula or "",
            score=unit.score,
            kind=abstraction_kind(unit.tree, related, cooccur),
        )
        for unit in explained
        if unit.tree is not None
    ]
    count = max(1, len(classified))
    return AbstractionsResult(
        by=by,
        shares={kind: sum(item.kind is kind for item in classified) / count for kind in Abstraction},
        units=classified,
        unknown=[] if known is None else sorted(name for name in names if name not in known),
    )


def abstraction_kind(tree: FormulaNode, related: Related, cooccur: Related) -> Abstraction:
    """Return the kind of abstraction of a formula.

    Formulas with AND or AND NOT are specialized. A disjunction is lexically coherent if its concepts are connected by
    relatedness, lexically incoherent if they are connected by relatedness or co-occurrence, else polysemantic.
    """
    names = list(dict.fromkeys(concepts_of(tree)))
    if len(names) == 1:
        return Abstraction.SINGLE
    if _has_conjunction(tree):
        return Abstraction.SPECIALIZED
    if connected(names, related):
        return Abstraction.COHERENT
    if connected(names, lambda one, other: related(one, other) or cooccur(one, other)):
        return Abstraction.INCOHERENT
    return Abstraction.POLYSEMANTIC


def connected(names: Sequence[str], related: Related) -> bool:
    """Return whether the graph of related names is connected."""
    connected_names, waiting = {names[0]}, [names[0]]
    while waiting:
        one = waiting.pop()
        new = [
            other for other in names if other not in connected_names and (related(one, other) or related(other, one))
        ]
        connected_names.update(new)
        waiting.extend(new)
    return len(connected_names) == len(set(names))


def cooccurrence(samples: Iterable[set[str]], names: Sequence[str], min_pmi: float) -> Related:
    """Return whether two concepts co-occur, as a function of their names.

    Args:
        samples: Concepts of each sample.
        names: The concepts of interest.
        min_pmi: Least pointwise mutual information over samples, in nats.
    """
    selected = set(names)
    single: dict[str, int] = dict.fromkeys(names, 0)
    pairs: dict[tuple[str, str], int] = {}
    total = 0
    for concepts in samples:
        total += 1
        present = sorted(concepts & selected)
        for name in present:
            single[name] += 1
        for pair in combinations(present, 2):
            pairs[pair] = pairs.get(pair, 0) + 1

    def cooccur(one: str, other: str) -> bool:
        both = pairs.get((min(one, other), max(one, other)), 0)
        return both > 0 and math.log(both * total / (single[one] * single[other])) >= min_pmi

    return cooccur


def _has_conjunction(tree: FormulaNode) -> bool:
    return tree.operator in (Operator.AND, Operator.AND_NOT) or any(_has_conjunction(part) for part in tree.parts)


def _relatedness(
    request: AbstractionsRequest, vectors: dict[str, NDArray[np.float64]] | None, cooccur: Related
) -> tuple[str, Related, set[str] | None]:
    """Return the source of relatedness, the relation, and the names it covers; None if it covers all."""
    if request.taxonomy is not None:
        groups: dict[str, set[str]] = {}
        for group, names in request.taxonomy.items():
            for name in names:
                groups.setdefault(name, set()).add(group)
        return "taxonomy", lambda one, other: bool(groups.get(one, set()) & groups.get(other, set())), set(groups)
    if request.embedding is not None:
        embedding = {name: np.array(vector, np.float64) for name, vector in request.embedding.items()}
        return "embedding", _by_cosine(embedding, request.related_from), set(embedding)
    if vectors is not None:
        return "vectors", _by_cosine(vectors, request.related_from), set(vectors)
    return "cooccurrence", cooccur, None


def _by_cosine(vectors: dict[str, NDArray[np.float64]], min_cosine: float) -> Related:
    def related(one: str, other: str) -> bool:
        if one not in vectors or other not in vectors:
            return False
        first, second = vectors[one], vectors[other]
        norm = float(np.linalg.norm(first) * np.linalg.norm(second))
        return norm > 0 and float(first @ second) / norm >= min_cosine

    return related

# mypy: disable-error-code="no-untyped-call"
"""Beam search over patterns against the published implementation: run-length masks, combined per candidate.

Formulas and scores must be identical on every unit. A second baseline combines dense masks.

    python -m benchmarks.formula_search --data ../shared/data
    python -m benchmarks.formula_search --units 20
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as run_lengths

from benchmarks.explained import MIDDLE, Counted, counted, fastestdet_on_camvid
from faceter.contracts.explanations import ExplanationRequest, Operator
from faceter.explanations.formulas import Formula
from workers.explanation.search.beam import BeamSettings, ScoredFormula, beam_search
from workers.explanation.upsampling import Upsampler

Bits = NDArray[np.bool_]
M = TypeVar("M")


@dataclass(frozen=True)
class MaskOperations(Generic[M]):
    """Operations on one representation of pixel masks."""

    encode: Callable[[Bits], M]
    """Returns bits as a mask."""
    joined: Callable[[Operator, M, M, M], M]
    """Returns the mask of a formula joined with a concept, given the concept and its complement."""
    both: Callable[[M, M], int]
    """Returns the number of pixels in both."""
    area: Callable[[M], int]
    """Returns the number of pixels."""


def _run_length(bits: Bits) -> Any:
    return run_lengths.encode(np.asfortranarray(bits[:, None].astype(np.uint8)))


def _merge(operator: Operator, formula: Any, concept: Any, without: Any) -> Any:
    if operator is Operator.OR:
        return run_lengths.merge([formula, concept], intersect=False)
    return run_lengths.merge([formula, concept if operator is Operator.AND else without], intersect=True)


def _combine(operator: Operator, formula: Bits, concept: Bits, without: Bits) -> Bits:
    if operator is Operator.OR:
        return formula | concept
    return formula & (concept if operator is Operator.AND else without)


RUN_LENGTHS: MaskOperations[Any] = MaskOperations(
    _run_length,
    _merge,
    lambda one, other: int(run_lengths.area(run_lengths.merge([one, other], intersect=True))),
    lambda mask: int(run_lengths.area(mask)),
)
DENSE: MaskOperations[Bits] = MaskOperations(
    lambda bits: bits,
    _combine,
    lambda one, other: int(np.count_nonzero(one & other)),
    lambda mask: int(np.count_nonzero(mask)),
)


def search(
    kind: MaskOperations[M], unit: M, concepts: Sequence[M], others: Sequence[M], candidates: Sequence[int]
) -> ScoredFormula:
    """Return the best formula by the published procedure (Mu & Andreas 2020), beam 5, length 3."""
    firings = kind.area(unit)

    def scored(formula: Formula, mask: M) -> tuple[float, Formula, M]:
        inside = kind.both(unit, mask)
        return inside / (firings + kind.area(mask) - inside), formula, mask

    singles = [scored(Formula(number), concepts[number]) for number in candidates]
    beam = _best([one for one in singles if one[0] > 0])
    for _ in range(2):
        new = [
            scored(formula.joined(operator, number), kind.joined(operator, mask, concepts[number], others[number]))
            for _, formula, mask in beam
            for number in candidates
            for operator in (Operator.OR, Operator.AND, Operator.AND_NOT)
        ]
        beam = _best([*beam, *new])
    return ScoredFormula(beam[0][1], beam[0][0])


def _best(formulas: list[tuple[float, Formula, M]]) -> list[tuple[float, Formula, M]]:
    return sorted(formulas, key=lambda one: -one[0])[:5]


def concept_bits(found: Counted) -> Iterator[Bits]:
    """Yield the mask of each concept over all pixels of all samples."""
    ids = found.recorded.pattern_ids.rows(0, len(found.probe)).reshape(-1)
    for concept in range(found.patterns.concept_count):
        yield found.patterns.concept_vectors(np.array([concept]))[0][ids]


def unit_bits(found: Counted, unit: int) -> Bits:
    """Return the mask of a unit over all pixels of all samples."""
    (layer,) = found.recorded.layers
    upsampler = Upsampler(found.probe.grid, layer.shape[1:])
    threshold = float(found.counts.thresholds[unit])
    maps = torch.from_numpy(layer.maps.rows(0, len(found.probe))[:, unit].copy())
    return np.asarray((upsampler(maps) > threshold).numpy().reshape(-1))


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--layer", default=MIDDLE)
    parser.add_argument("--units", type=int, help="how many units, from the first; all if not given")
    given = parser.parse_args()
    with counted(fastestdet_on_camvid(given.data), ExplanationRequest(dataset_id="camvid", layer=given.layer)) as found:
        total = len(found.fires) if given.units is None else given.units
        fires, candidates = found.fires[:total], found.counts.candidates[:total]
        began = time.perf_counter()
        ours = [by_length[-1] for by_length in beam_search(found.patterns, fires, candidates, BeamSettings())]
        seconds = {"patterns": (time.perf_counter() - began) / total}
        print(
            f"{total} units, {found.patterns.pixels:,} pixels, {found.patterns.concept_count} concepts, "
            f"{len(found.patterns)} patterns"
        )
        for name, kind in (("run-length masks", RUN_LENGTHS), ("dense masks", DENSE)):
            concepts = [kind.encode(bits) for bits in concept_bits(found)]
            others = [kind.encode(~bits) for bits in concept_bits(found)]
            took, same = 0.0, 0
            for unit in range(total):
                mask = kind.encode(unit_bits(found, unit))
                began = time.perf_counter()
                best = search(kind, mask, concepts, others, np.flatnonzero(candidates[unit]).tolist())
                took += time.perf_counter() - began
                same += best == ours[unit]
            seconds[name] = took / total
            print(f"{name}: {same} of {total} units have the identical formula and score")
        print("\n| search | ms per unit | times as long |\n|---|---|---|")
        for name, each in seconds.items():
            print(f"| {name} | {1000 * each:,.2f} | {each / seconds['patterns']:,.0f} |")


if __name__ == "__main__":
    main()

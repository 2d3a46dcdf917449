"""One layer after the other: where its units fire, and their formulas, a slice of units at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.beam import Found
from workers.explanation.counting import Counts, layer_thresholds, second_pass
from workers.explanation.first_pass import FirstPass, Layer
from workers.explanation.samples import Samples
from workers.explanation.search import FormulaSearch, Searched
from workers.jobs.journal import Journal, State
from workers.jobs.scratch import ScratchFiles

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class LayerResult:
    """What was found about units of a layer."""

    thresholds: NDArray[np.float32]
    """Each fires where its activation is over this, float32 [U]."""
    firings: NDArray[np.int64]
    """At how many pixels, int64 [U]."""
    samples: NDArray[np.uint8]
    """In which samples, packed, uint8 [U, ⌈N/8⌉]."""
    masks: NDArray[np.uint8]
    """Where it fires in the samples in which it is strongest, packed, uint8 [U, T, ⌈pixels/8⌉]."""
    searched: list[Searched | None]
    """What the search found; None for units that fire too little."""

    @classmethod
    def joined(cls, parts: list[LayerResult]) -> LayerResult:
        """Return slices of units as one."""
        return cls(
            thresholds=np.concatenate([part.thresholds for part in parts]),
            firings=np.concatenate([part.firings for part in parts]),
            samples=np.concatenate([part.samples for part in parts]),
            masks=np.concatenate([part.masks for part in parts]),
            searched=[searched for part in parts for searched in part.searched],
        )

    def state(self) -> State:
        """Return it as arrays."""
        said = json.dumps([None if searched is None else _as_json(searched) for searched in self.searched])
        return {
            "thresholds": self.thresholds,
            "firings": self.firings,
            "samples": self.samples,
            "masks": self.masks,
            "searched": np.frombuffer(said.encode(), np.uint8),
        }

    @classmethod
    def restored(cls, state: State) -> LayerResult:
        """Return what `state` was taken of."""
        said = json.loads(state["searched"].tobytes())
        searched = [None if one is None else _from_json(one) for one in said]
        return cls(state["thresholds"], state["firings"], state["samples"], state["masks"], searched)


def search_layer(
    first: FirstPass,
    layer: Layer,
    samples: Samples,
    search: FormulaSearch,
    device: torch.device,
    files: ScratchFiles,
    journal: Journal,
    tell: Tell = lambda _, __: None,
) -> LayerResult:
    """Find where units of a layer fire, and their formulas.

    Args:
        first: The first pass.
        layer: One of its layers.
        samples: The samples.
        search: How formulas are looked for.
        device: Where maps are brought to pixels.
        files: Where counts are kept meanwhile.
        journal: May know the layer already.
        tell: Told what is done, and the share that is.
    """
    stage = f"layer-{next(number for number, one in enumerate(first.layers) if one is layer)}"
    known = journal.read(stage)
    if known is not None:
        return LayerResult.restored(known)
    tell(f"thresholds of {layer.name}", 0.0)
    over = layer_thresholds(layer, search.request, about=samples.about)
    counts = second_pass(
        first, layer, over, samples, device, files, lambda done: tell(f"where units of {layer.name} fire", done / 2)
    )
    parts = counts.buckets.slices
    found: list[LayerResult] = []
    for number, part in enumerate(parts):
        tell(f"searching formulas for {layer.name}", 0.5 + number / len(parts) / 2)
        found.append(_searched(counts, number, part, search))
    result = LayerResult.joined(found)
    journal.write(stage, result.state, finished=True)
    return result


def _searched(counts: Counts, number: int, part: slice, search: FormulaSearch) -> LayerResult:
    fires = counts.buckets.counts(number)
    firings = fires.sum(axis=1).astype(np.int64)
    enough = np.flatnonzero(firings >= search.request.min_firings)
    searched: list[Searched | None] = [None] * len(firings)
    found = search.search(fires[enough], counts.candidates[part][enough])
    for unit, one in zip(enough, found, strict=True):
        searched[unit] = one
    return LayerResult(counts.thresholds[part], firings, counts.samples[part], counts.masks[part], searched)


def _as_json(searched: Searched) -> object:
    levels = [[found.score, found.formula.first, *found.formula.rest] for found in searched.levels]
    return [levels, searched.optimal, searched.bound, searched.ceiling]


def _from_json(said: list) -> Searched:  # type: ignore[type-arg]
    levels, optimal, bound, ceiling = said
    return Searched(
        [
            Found(Formula(first, tuple((Operator(operator), concept) for operator, concept in rest)), score)
            for score, first, *rest in levels
        ],
        optimal,
        bound,
        ceiling,
    )

"""Explains one layer: activation thresholds, firing counts and formulas, a slice of units at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.explanations import Operator
from faceter.explanations.formulas import Formula
from workers.explanation.activation_thresholds import activation_thresholds
from workers.explanation.firing_counts import FiringCounts, count_firings
from workers.explanation.probe.dataset import ProbeDataset
from workers.explanation.recorded_activations import LayerActivations, RecordedActivations
from workers.explanation.search.beam import ScoredFormula
from workers.explanation.search.formula_search import FormulaSearch, SearchResult
from workers.jobs.journal import Journal, State
from workers.jobs.scratch import ScratchFiles

StepProgress = Callable[[str, float], None]
"""Takes the current step and the fraction of the layer that is done."""


@dataclass(frozen=True)
class LayerResult:
    """Where units of a layer fire, and their formulas."""

    thresholds: NDArray[np.float32]
    """Activation thresholds, float32 [U]."""
    firings: NDArray[np.int64]
    """Pixels where each unit fires, int64 [U]."""
    samples: NDArray[np.uint8]
    """Samples in which each unit fires, packed, uint8 [U, ⌈N/8⌉]."""
    masks: NDArray[np.uint8]
    """Firing masks in the samples with the highest activations, packed, uint8 [U, T, ⌈pixels/8⌉]."""
    searches: list[SearchResult | None]
    """Formulas of each unit; None if it fires at fewer than `min_firings` pixels."""

    @classmethod
    def concatenated(cls, parts: list[LayerResult]) -> LayerResult:
        """Return slices of units as one."""
        return cls(
            thresholds=np.concatenate([part.thresholds for part in parts]),
            firings=np.concatenate([part.firings for part in parts]),
            samples=np.concatenate([part.samples for part in parts]),
            masks=np.concatenate([part.masks for part in parts]),
            searches=[search for part in parts for search in part.searches],
        )

    def state(self) -> State:
        """Return the state for a checkpoint."""
        searches = json.dumps([None if search is None else _to_json(search) for search in self.searches])
        return {
            "thresholds": self.thresholds,
            "firings": self.firings,
            "samples": self.samples,
            "masks": self.masks,
            "searches": np.frombuffer(searches.encode(), np.uint8),
        }

    @classmethod
    def restored(cls, state: State) -> LayerResult:
        """Return the result of a state."""
        values = json.loads(state["searches"].tobytes())
        searches = [None if value is None else _from_json(value) for value in values]
        return cls(state["thresholds"], state["firings"], state["samples"], state["masks"], searches)


def search_layer(
    recorded: RecordedActivations,
    layer: LayerActivations,
    probe: ProbeDataset,
    search: FormulaSearch,
    device: torch.device,
    files: ScratchFiles,
    journal: Journal,
    progress: StepProgress = lambda _, __: None,
    count: Callable[[], FiringCounts] | None = None,
) -> LayerResult:
    """Find where units of a layer fire, and their formulas.

    Args:
        recorded: The activations.
        layer: One of its layers.
        probe: The probe dataset.
        search: The search for formulas.
        device: Where maps are upsampled.
        files: Where counts are written.
        journal: May have the result of an earlier attempt.
        progress: Called with the step and the fraction done.
        count: Returns where units fire, if that has been computed.
    """
    stage = f"layer-{next(number for number, one in enumerate(recorded.layers) if one is layer)}"
    state = journal.read(stage)
    if state is not None:
        return LayerResult.restored(state)
    if count is None:
        progress(f"thresholds of {layer.name}", 0.0)
        thresholds = activation_thresholds(layer, search.request, about=probe.about)
        step = f"where units of {layer.name} fire"
        counts = count_firings(
            recorded, layer, thresholds, probe, device, files, lambda fraction: progress(step, fraction / 2)
        )
    else:
        counts = count()
    slices = counts.pattern_counts.slices
    parts: list[LayerResult] = []
    for number, part in enumerate(slices):
        progress(f"searching formulas for {layer.name}", 0.5 + number / len(slices) / 2)
        parts.append(_search_slice(counts, number, part, search))
    result = LayerResult.concatenated(parts)
    journal.write(stage, result.state, finished=True)
    return result


def _search_slice(counts: FiringCounts, number: int, part: slice, search: FormulaSearch) -> LayerResult:
    fires = counts.pattern_counts.counts(number)
    firings = fires.sum(axis=1).astype(np.int64)
    enough = np.flatnonzero(firings >= search.request.min_firings)
    searches: list[SearchResult | None] = [None] * len(firings)
    results = search.search(fires[enough], counts.candidates[part][enough])
    for unit, result in zip(enough, results, strict=True):
        searches[unit] = result
    return LayerResult(counts.thresholds[part], firings, counts.samples[part], counts.masks[part], searches)


def _to_json(search: SearchResult) -> object:
    by_length = [[scored.score, scored.formula.first, *scored.formula.rest] for scored in search.by_length]
    return [by_length, search.optimal, search.bound, search.ceiling]


def _from_json(value: list) -> SearchResult:  # type: ignore[type-arg]
    by_length, optimal, bound, ceiling = value
    return SearchResult(
        [
            ScoredFormula(Formula(first, tuple((Operator(operator), concept) for operator, concept in rest)), score)
            for score, first, *rest in by_length
        ],
        optimal,
        bound,
        ceiling,
    )

"""Probe datasets of signals with labelled moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model
from faceter.datasets.signals import CONCEPT_CATEGORY, SignalsDataset
from faceter.explanations.derived import DERIVED_CONCEPTS
from workers.explanation.probe.dataset import ConceptList, InputPlacement, Integers, ProbeBatch, SampleConcepts

_ABOUT: Final = "signals"
_CACHED_BYTES = 2**28
_BATCH = 256


class SignalProbeDataset:
    """A `ProbeDataset` of signals.

    Args:
        data: The dataset.
        model: The model to run on it.
        request: Names derived concepts.
    """

    about: Literal["signals"] = _ABOUT

    def __init__(self, data: SignalsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data, self._spec = data, data.matching_input(model.varying_inputs)
        self.grid = (1, data.shape[1])
        self._cache = _in_memory(data)
        self.classes = _classes(data, model)
        self.warnings: list[str] = []
        listed = ConceptList()
        labelled = listed.add(CONCEPT_CATEGORY, data.concept_names)
        listed.label_maps.extend([labelled] * data.most_concepts)
        for kind in request.derived_concepts:
            for category, names in DERIVED_CONCEPTS[kind][_ABOUT].items():
                listed.add_label_map(category, names)
        self._thirds = bool(request.derived_concepts)
        self.concepts, self.label_maps = listed.concepts, listed.label_maps

    @property
    def input_size(self) -> int:
        """Values of one signal."""
        return int(np.prod(self._data.shape))

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        """Read some signals and their labels."""
        inputs = self._signals(indices).astype(self._spec.dtype, copy=False)
        concepts = [self._concepts(index) for index in indices]
        return ProbeBatch({self._spec.name: inputs}, concepts, [InputPlacement()] * len(indices))

    def _signals(self, indices: Sequence[int]) -> NDArray[np.float32]:
        if self._cache is not None:
            return self._cache[0][list(indices)]
        (batch,) = self._data.batches(len(indices), indices=indices)
        return batch.inputs.astype(np.float32, copy=False)

    def _concepts(self, index: int) -> SampleConcepts:
        labels = self._data.concepts(index) if self._cache is None else self._cache[1][index]
        length = self.grid[1]
        thirds = [np.minimum(np.arange(length) * 3 // length, 2) + 1] if self._thirds else []
        return SampleConcepts(np.stack([*([] if labels is None else labels), *thirds]))


def _in_memory(data: SignalsDataset) -> tuple[NDArray[np.float32], Integers] | None:
    """Return all signals and their labels unless they are too large: the file has no random access."""
    channels, length = data.shape
    if len(data) * length * (4 * channels + 8 * data.most_concepts) > _CACHED_BYTES:
        return None
    signals = np.concatenate([batch.inputs for batch in data.batches(_BATCH)])
    return signals.astype(np.float32, copy=False), data.all_concepts().astype(np.int64)


def _classes(data: SignalsDataset, model: Model) -> Integers | None:
    labels = data.sample_labels(model.metadata.labels) if model.metadata.task.classifies else None
    return None if labels is None else labels.astype(np.int64)

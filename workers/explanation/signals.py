"""Signals with labelled moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model
from faceter.datasets.signals import CONCEPT_CATEGORY, SignalsDataset
from faceter.explanations.derived import DERIVED
from workers.explanation.samples import ConceptList, Frame, Integers, Labels, Read

_ABOUT: Final = "signals"
_HELD_BYTES = 2**28
_READ_AT_ONCE = 256


class SignalSamples:
    """The signals of a dataset; see `workers.explanation.samples.Samples`.

    Args:
        data: The dataset.
        model: Takes them.
        request: Which further concepts.
    """

    about: Literal["signals"] = _ABOUT

    def __init__(self, data: SignalsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data, self._spec = data, data.input_of(model.inputs)
        self.grid = (1, data.shape[1])
        self._held = _in_memory(data)
        self.classes = _classes(data, model)
        self.notes: list[str] = []
        listed = ConceptList()
        waves = listed.add(CONCEPT_CATEGORY, data.concept_names)
        listed.groups.extend([waves] * data.most_concepts)
        for kind in request.derived_concepts:
            for category, names in DERIVED[kind][_ABOUT].items():
                listed.add_group(category, names)
        self._thirds = bool(request.derived_concepts)
        self.concepts, self.groups = listed.concepts, listed.groups

    @property
    def input_values(self) -> int:
        """How many values one signal has."""
        return int(np.prod(self._data.shape))

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> Read:
        """Read some signals and their labels."""
        inputs = self._signals(indices).astype(self._spec.dtype, copy=False)
        return Read({self._spec.name: inputs}, [self._labels(index) for index in indices], [Frame()] * len(indices))

    def _signals(self, indices: Sequence[int]) -> NDArray[np.float32]:
        if self._held is not None:
            return self._held[0][list(indices)]
        (batch,) = self._data.batches(len(indices), indices=indices)
        return batch.inputs.astype(np.float32, copy=False)

    def _labels(self, index: int) -> Labels:
        said = self._data.concepts(index) if self._held is None else self._held[1][index]
        length = self.grid[1]
        thirds = [np.minimum(np.arange(length) * 3 // length, 2) + 1] if self._thirds else []
        return Labels(np.stack([*([] if said is None else said), *thirds]))


def _in_memory(data: SignalsDataset) -> tuple[NDArray[np.float32], Integers] | None:
    """Return all signals and their concepts, if they are not too large: their file can only be read from the start."""
    channels, length = data.shape
    if len(data) * length * (4 * channels + 8 * data.most_concepts) > _HELD_BYTES:
        return None
    signals = np.concatenate([batch.inputs for batch in data.batches(_READ_AT_ONCE)])
    return signals.astype(np.float32, copy=False), data.all_concepts().astype(np.int64)


def _classes(data: SignalsDataset, model: Model) -> Integers | None:
    labels = data.sample_labels(model.metadata.labels) if model.metadata.task.classifies else None
    return None if labels is None else labels.astype(np.int64)

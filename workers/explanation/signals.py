"""Signals with labelled moments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np

from faceter.contracts.explanations import ExplanationRequest
from faceter.contracts.models import Model
from faceter.datasets.signals import CONCEPT_CATEGORY, SignalsDataset
from faceter.explanations.derived import DERIVED
from workers.explanation.samples import ConceptList, Frame, Integers, Labels, Read

_ABOUT: Final = "signals"


class SignalSamples:
    """The signals of a data set; see `workers.explanation.samples.Samples`.

    Args:
        data: The data set.
        model: Takes them.
        request: Which further concepts.
    """

    about: Literal["signals"] = _ABOUT

    def __init__(self, data: SignalsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data, self._spec = data, data.input_of(model.inputs)
        self.grid = (1, data.shape[1])
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
        (batch,) = self._data.batches(len(indices), indices=indices)
        inputs = batch.inputs.astype(self._spec.dtype, copy=False)
        return Read({self._spec.name: inputs}, [self._labels(index) for index in indices], [Frame()] * len(indices))

    def _labels(self, index: int) -> Labels:
        said = self._data.concepts(index)
        length = self.grid[1]
        thirds = [np.minimum(np.arange(length) * 3 // length, 2) + 1] if self._thirds else []
        return Labels(np.stack([*([] if said is None else said), *thirds]))


def _classes(data: SignalsDataset, model: Model) -> Integers | None:
    labels = data.sample_labels(model.metadata.labels) if model.metadata.task.classifies else None
    return None if labels is None else labels.astype(np.int64)

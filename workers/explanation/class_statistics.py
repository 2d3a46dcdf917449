"""How units and formulas relate to the classes of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceter.contracts.models import Model
from faceter.contracts.units import ClassWeight
from faceter.explanations.formulas import Formula
from faceter.graphs.classifier_weights import classifier_weights
from faceter.graphs.packing import unpack_weights
from faceter.graphs.working import load_working_graph
from faceter.vision.metadata import class_output
from workers.explanation.probe.dataset import Integers, ProbeDataset
from workers.explanation.recorded_activations import RecordedActivations
from workers.explanation.search.patterns import Floats, Patterns, formula_vector


@dataclass(frozen=True)
class ClassStatistics:
    """Weights from units to C classes, and counts of patterns by predicted class."""

    labels: list[str]
    """Names of the classes."""
    weights: dict[str, Floats]
    """Weights [C, units] by layer, for layers that one linear layer follows."""
    predicted: Integers | None
    """Predicted classes, int64 [N]; None if not known."""
    joint: Floats | None
    """Sentence pairs by pattern and predicted class, [P, C]; None for images and signals."""

    @classmethod
    def of(
        cls, model: Model, content: bytes, probe: ProbeDataset, recorded: RecordedActivations
    ) -> ClassStatistics | None:
        """Return the statistics of a model; None if it is no classifier."""
        if not model.metadata.task.classifies:
            return None
        output = class_output(model.metadata, model.outputs)
        count = int(recorded.predicted.max()) + 1 if recorded.predicted is not None else 0
        sizes = [size for size in output.shape[1:] if isinstance(size, int)]
        count = max(count, int(np.prod(sizes)) if sizes else 0)
        labels = model.metadata.labels or [str(number) for number in range(count)]
        graph = unpack_weights(load_working_graph(content, model.metadata).model)
        weights = {}
        for layer in recorded.layers:
            layer_weights = classifier_weights(graph, layer.name, layer.shape[0], len(labels))
            if layer_weights is not None:
                weights[layer.name] = np.asarray(layer_weights, np.float64)
        return cls(list(labels), weights, recorded.predicted, _joint_counts(probe, recorded, len(labels)))

    def class_weights(self, layer: str, unit: int, formula: Formula | None, patterns: Patterns) -> list[ClassWeight]:
        """Return the weight of a unit to each class, and the mutual information of its formula with it."""
        weights = self.weights.get(layer)
        pmi = None if formula is None else self._pmi(formula, patterns)
        if weights is None and pmi is None:
            return []
        return [
            ClassWeight(
                label=label,
                weight=None if weights is None else float(weights[number, unit]),
                pmi=None if pmi is None or not np.isfinite(pmi[number]) else float(pmi[number]),
            )
            for number, label in enumerate(self.labels)
        ]

    def _pmi(self, formula: Formula, patterns: Patterns) -> Floats | None:
        """Return the pointwise mutual information log p(F, class) / (p(F) p(class)), [C]; −∞ if they never co-occur."""
        joint = self.joint
        if joint is None:
            return None
        together = formula_vector(patterns, formula) @ joint
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(together * joint.sum() / (together.sum() * joint.sum(axis=0))))


def _joint_counts(probe: ProbeDataset, recorded: RecordedActivations, classes: int) -> Floats | None:
    if probe.about != "text" or recorded.predicted is None:
        return None
    joint = np.zeros((len(recorded.table), classes))
    np.add.at(joint, (recorded.pattern_ids.rows(0, len(probe))[:, 0], recorded.predicted), 1)
    return joint

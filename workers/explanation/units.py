"""What is said of each unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from faceter.contracts.explanations import ClassWeight, Unit, UnitExample
from faceter.contracts.models import Model
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.kinds import AnyDataset
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.graphs.check import load_model
from faceter.graphs.class_weights import class_weights
from faceter.graphs.packing import unpack_weights
from faceter.vision.metadata import class_output
from workers.explanation.first_pass import FirstPass, Layer
from workers.explanation.layers import LayerResult
from workers.explanation.patterns import Floats, Patterns, formula_mask
from workers.explanation.samples import Integers, Samples
from workers.explanation.search import Searched


@dataclass(frozen=True)
class Classes:
    """The classes of a classifier, and what goes with them."""

    labels: list[str]
    """Their names."""
    weights: dict[str, Floats]
    """Weights from units to classes by layer, [K, U], of layers that one linear layer follows."""
    predicted: Integers | None
    """Class predicted of each sample, int64 [N]; None where pairs of pattern and class are not counted."""
    joint: Floats | None
    """Pixels by pattern and predicted class, [P, K], for text."""

    @classmethod
    def of(cls, model: Model, content: bytes, samples: Samples, first: FirstPass) -> Classes | None:
        """Return a model's classes; None if it is no classifier."""
        if not model.metadata.task.classifies:
            return None
        output = class_output(model.metadata, model.outputs)
        count = int(first.predicted.max()) + 1 if first.predicted is not None else 0
        sizes = [size for size in output.shape[1:] if isinstance(size, int)]
        count = max(count, int(np.prod(sizes)) if sizes else 0)
        labels = model.metadata.labels or [str(number) for number in range(count)]
        graph = unpack_weights(load_model(content, max_bytes=len(content)))
        weights = {}
        for layer in first.layers:
            found = class_weights(graph, layer.name, layer.shape[0], len(labels))
            if found is not None:
                weights[layer.name] = np.asarray(found, np.float64)
        return cls(list(labels), weights, first.predicted, _joint(samples, first, len(labels)))


def _joint(samples: Samples, first: FirstPass, classes: int) -> Floats | None:
    if samples.about != "text" or first.predicted is None:
        return None
    joint = np.zeros((len(first.table), classes))
    np.add.at(joint, (first.ids.rows(0, len(samples))[:, 0], first.predicted), 1)
    return joint


class UnitWriter:
    """Writes what was found as answers.

    Args:
        data: The dataset.
        samples: Its samples.
        first: The first pass.
        patterns: The patterns.
        classes: Of a classifier.
    """

    def __init__(
        self, data: AnyDataset, samples: Samples, first: FirstPass, patterns: Patterns, classes: Classes | None
    ) -> None:
        self._data, self._samples, self._first, self._patterns, self._classes = data, samples, first, patterns, classes

    def units(self, layer: Layer, result: LayerResult) -> Iterator[Unit]:
        """Yield the units of a layer."""
        for row, unit in enumerate(layer.units.tolist()):
            yield self._unit(layer, result, row, unit)

    def _unit(self, layer: Layer, result: LayerResult, row: int, unit: int) -> Unit:
        searched, concepts = result.searched[row], self._samples.concepts
        levels = [] if searched is None else searched.levels
        best, single = (levels[-1], levels[0]) if levels else (None, None)
        return Unit(
            layer=layer.name,
            unit=unit,
            formula=None if best is None else best.formula.text(concepts),
            length=0 if best is None else len(best.formula),
            score=0.0 if best is None else best.score,
            concept=None if single is None else concepts[single.formula.first].name,
            concept_score=0.0 if single is None else single.score,
            ceiling=0.0 if searched is None else searched.ceiling,
            optimal=None if searched is None else searched.optimal,
            firings=int(result.firings[row]),
            reason=self._note(searched, int(result.firings[row])),
            tree=None if best is None else best.formula.tree(concepts),
            threshold=float(result.thresholds[row]),
            scores=[level.score for level in levels],
            formulas=[level.formula.text(concepts) for level in levels],
            bound=None if searched is None or searched.optimal else searched.bound,
            classes=self._class_weights(layer, row, unit, searched),
            examples=list(self._examples(layer, row, float(result.thresholds[row]))),
        )

    def _note(self, searched: Searched | None, firings: int) -> str | None:
        if firings == 0:
            return "never fires"
        if searched is None:
            return f"fires at {firings:,} places, fewer than asked for"
        return None if searched.levels else "fires only where there is no concept"

    def _class_weights(self, layer: Layer, row: int, unit: int, searched: Searched | None) -> list[ClassWeight]:
        classes = self._classes
        if classes is None:
            return []
        weights = classes.weights.get(layer.name)
        pmi = self._pmi(searched)
        if weights is None and pmi is None:
            return []
        return [
            ClassWeight(
                label=label,
                weight=None if weights is None else float(weights[number, unit]),
                pmi=None if pmi is None or not np.isfinite(pmi[number]) else float(pmi[number]),
            )
            for number, label in enumerate(classes.labels)
        ]

    def _pmi(self, searched: Searched | None) -> Floats | None:
        """Return log p(F, class) / (p(F) p(class)) for each class, −∞ where they never meet."""
        joint = None if self._classes is None else self._classes.joint
        if joint is None or searched is None or not searched.levels:
            return None
        together = formula_mask(self._patterns, searched.levels[-1].formula) @ joint
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.log(together * joint.sum() / (together.sum() * joint.sum(axis=0))))

    def _examples(self, layer: Layer, row: int, threshold: float) -> Iterator[UnitExample]:
        for sample, peak in zip(layer.strongest[row].tolist(), layer.peaks[row].tolist(), strict=True):
            if sample >= 0 and peak > threshold:
                yield UnitExample(
                    index=sample,
                    name=self._data.names[sample] if isinstance(self._data, ConceptsDataset) else None,
                    activation=peak,
                    texts=self._texts(sample),
                    label=self._label(self._samples.classes, sample),
                    predicted=self._label(self._first.predicted, sample),
                )

    def _texts(self, sample: int) -> list[str] | None:
        if not isinstance(self._data, TextPairsDataset):
            return None
        pair = self._data.pairs[sample]
        return [" ".join(pair.premise), " ".join(pair.hypothesis)]

    def _label(self, numbers: Integers | None, sample: int) -> str | None:
        return None if numbers is None or self._classes is None else self._classes.labels[int(numbers[sample])]

"""Units of an explanation as the API returns them."""

from __future__ import annotations

from collections.abc import Iterator

from faceter.contracts.units import Unit, UnitExample
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.reader import DatasetReader
from faceter.datasets.text_pairs import TextPairsDataset
from faceter.datasets.texts import TextsDataset
from workers.explanation.class_statistics import ClassStatistics
from workers.explanation.layer_search import LayerResult
from workers.explanation.probe.dataset import Integers, ProbeDataset
from workers.explanation.recorded_activations import LayerActivations, RecordedActivations
from workers.explanation.search.formula_search import SearchResult
from workers.explanation.search.patterns import Patterns


class UnitRecordBuilder:
    """Builds the record of each unit.

    Args:
        data: The dataset.
        probe: The same as a probe dataset.
        recorded: The activations.
        patterns: The patterns.
        classes: Of a classifier.
    """

    def __init__(
        self,
        data: DatasetReader,
        probe: ProbeDataset,
        recorded: RecordedActivations,
        patterns: Patterns,
        classes: ClassStatistics | None,
    ) -> None:
        self._data, self._probe, self._recorded, self._patterns, self._classes = (
            data,
            probe,
            recorded,
            patterns,
            classes,
        )

    def units(self, layer: LayerActivations, result: LayerResult) -> Iterator[Unit]:
        """Yield the units of a layer."""
        for row, unit in enumerate(layer.units.tolist()):
            yield self._unit(layer, result, row, unit)

    def _unit(self, layer: LayerActivations, result: LayerResult, row: int, unit: int) -> Unit:
        search, concepts = result.searches[row], self._probe.concepts
        by_length = [] if search is None else search.by_length
        best, single = (by_length[-1], by_length[0]) if by_length else (None, None)
        formula = None if best is None else best.formula
        threshold, firings = float(result.thresholds[row]), int(result.firings[row])
        classes = self._classes
        return Unit(
            layer=layer.name,
            unit=unit,
            formula=None if formula is None else formula.text(concepts),
            length=0 if formula is None else len(formula),
            score=0.0 if best is None else best.score,
            concept=None if single is None else concepts[single.formula.first].name,
            concept_score=0.0 if single is None else single.score,
            ceiling=0.0 if search is None else search.ceiling,
            optimal=None if search is None else search.optimal,
            firings=firings,
            reason=_unexplained_reason(search, firings),
            tree=None if formula is None else formula.tree(concepts),
            threshold=threshold,
            scores=[scored.score for scored in by_length],
            formulas=[scored.formula.text(concepts) for scored in by_length],
            bound=None if search is None or search.optimal else search.bound,
            classes=[] if classes is None else classes.class_weights(layer.name, unit, formula, self._patterns),
            examples=list(self._examples(layer, row, threshold)),
        )

    def _examples(self, layer: LayerActivations, row: int, threshold: float) -> Iterator[UnitExample]:
        for sample, peak in zip(layer.strongest[row].tolist(), layer.peaks[row].tolist(), strict=True):
            if sample >= 0 and peak > threshold:
                yield UnitExample(
                    index=sample,
                    name=self._data.names[sample] if isinstance(self._data, ConceptsDataset) else None,
                    activation=peak,
                    texts=self._texts(sample),
                    label=self._label(self._probe.classes, sample),
                    predicted=self._label(self._recorded.predicted, sample),
                )

    def _texts(self, sample: int) -> list[str] | None:
        if isinstance(self._data, TextsDataset):
            return [self._data.text(sample)]
        if not isinstance(self._data, TextPairsDataset):
            return None
        pair = self._data.pairs[sample]
        return [" ".join(pair.premise), " ".join(pair.hypothesis)]

    def _label(self, numbers: Integers | None, sample: int) -> str | None:
        return None if numbers is None or self._classes is None else self._classes.labels[int(numbers[sample])]


def _unexplained_reason(search: SearchResult | None, firings: int) -> str | None:
    """Return why a unit has no formula; None if it has one."""
    if firings == 0:
        return "never fires"
    if search is None:
        return f"fires at {firings:,} places, below `min_firings`"
    return None if search.by_length else "fires only where there is no concept"

"""Where a unit fires and where its formula holds, drawn into the samples at which it is strongest."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from faceter.contracts.explanations import Unit, UnitExample
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.signals import SignalsDataset
from faceter.explanations.drawing import ImageSample, SignalSample, unit_image, unit_signals
from faceter.explanations.masks import UnitMasks

_LARGEST: Final = 512
"""Pixels of the longer side of an image."""


def draw_unit(unit: Unit, masks: UnitMasks, opened: ConceptsDataset | SignalsDataset) -> bytes:
    """Return a PNG of a unit.

    Args:
        unit: The unit.
        masks: Where it fires, and where its formula holds.
        opened: The samples.
    """
    title = unit.formula or "no formula"
    places = [place for place, index in enumerate(masks.strongest.tolist()) if index >= 0]
    if isinstance(opened, SignalsDataset):
        signals = list(_signals(unit, masks, places, opened))
        return unit_signals(title, subtitle_of(unit), signals, title)
    return unit_image(title, subtitle_of(unit), list(_images(unit, masks, places, opened)))


def subtitle_of(unit: Unit) -> str:
    """Return the unit, how good its formula is, and from where on it fires."""
    found = (
        unit.reason or "unexplained" if unit.formula is None else f"IoU {unit.score:.2f} · ceiling {unit.ceiling:.2f}"
    )
    return f"unit {unit.unit} of {unit.layer} · {found} · threshold {unit.threshold:.3g}"


def _images(unit: Unit, masks: UnitMasks, places: Sequence[int], opened: ConceptsDataset) -> Iterator[ImageSample]:
    for place in places:
        index = int(masks.strongest[place])
        image = opened.image(index)
        image.thumbnail((_LARGEST, _LARGEST))
        caption = _caption(unit, index, PurePosixPath(opened.names[index]).name)
        yield ImageSample(image, caption, masks.unit[place], masks.formula[place])


def _signals(unit: Unit, masks: UnitMasks, places: Sequence[int], opened: SignalsDataset) -> Iterator[SignalSample]:
    indices = [int(masks.strongest[place]) for place in places]
    for batch in opened.batches(1, indices=indices):
        index, place = int(batch.indices[0]), places[indices.index(int(batch.indices[0]))]
        caption = _caption(unit, index, f"signal {index}")
        yield SignalSample(batch.inputs[0], caption, masks.unit[place], masks.formula[place])


def _caption(unit: Unit, index: int, name: str) -> str:
    example: UnitExample | None = next((found for found in unit.examples if found.index == index), None)
    if example is None:
        return name
    return " · ".join([name, f"activation {example.activation:.3g}", *([example.label] if example.label else [])])

"""Images of units: where a unit fires and where its formula holds, in its top-activating samples."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from faceter.contracts.units import Unit, UnitExample
from faceter.datasets.concepts import ConceptsDataset
from faceter.datasets.signals import SignalsDataset
from faceter.explanations.drawing.images import ImageSample, draw_unit_on_image, draw_unit_on_images
from faceter.explanations.drawing.signals import SignalSample, draw_unit_on_signal, draw_unit_on_signals
from faceter.explanations.masks import UnitMasks

_LARGEST: Final = 512
"""Pixels of the longer side of an image."""


def draw_unit(
    unit: Unit, masks: UnitMasks, opened: ConceptsDataset | SignalsDataset, sample: int | None = None
) -> bytes:
    """Return a PNG of a unit.

    Args:
        unit: The unit.
        masks: Unit masks and formula masks of its top-activating samples.
        opened: The probe dataset.
        sample: Which of the unit's examples is drawn, alone and without text; by default all samples, with captions.
    """
    title = unit.formula or "no formula"
    places = [place for place, index in enumerate(masks.strongest.tolist()) if index >= 0]
    if sample is not None:
        place = masks.strongest.tolist().index(unit.examples[sample].index)
        if isinstance(opened, SignalsDataset):
            return draw_unit_on_signal(next(_signals(unit, masks, [place], opened)))
        return draw_unit_on_image(next(_images(unit, masks, [place], opened)))
    if isinstance(opened, SignalsDataset):
        signals = list(_signals(unit, masks, places, opened))
        return draw_unit_on_signals(title, subtitle_of(unit), signals, title)
    return draw_unit_on_images(title, subtitle_of(unit), list(_images(unit, masks, places, opened)))


def subtitle_of(unit: Unit) -> str:
    """Return a subtitle with the unit, the IoU of its formula, and its activation threshold."""
    quality = (
        unit.reason or "unexplained" if unit.formula is None else f"IoU {unit.score:.2f} · ceiling {unit.ceiling:.2f}"
    )
    return f"unit {unit.unit} of {unit.layer} · {quality} · threshold {unit.threshold:.3g}"


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
    example: UnitExample | None = next((example for example in unit.examples if example.index == index), None)
    if example is None:
        return name
    return " · ".join([name, f"activation {example.activation:.3g}", *([example.label] if example.label else [])])

"""Copy-paste adversarial examples of images: regions of concepts that formulas require, against random regions.

References:
    Mu, Andreas, "Compositional explanations of neurons", NeurIPS 2020, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from faceter.contracts.analyses import CopyPasteRequest, CopyPasteResult, Edit
from faceter.contracts.units import Unit
from faceter.datasets.concepts import ConceptsDataset
from faceter.explanations.drawing.canvas import png_file
from faceter.explanations.drawing.images import region_panel, resized_to_panel
from workers.explanation.analyses.class_scores import ClassScores
from workers.explanation.analyses.concept_regions import ConceptRegion, find_regions
from workers.explanation.analyses.edit_proposals import required_concepts, unit_weights
from workers.explanation.analyses.success_rate import success_rate
from workers.figures.pairs import pairs_sheet

Floats = NDArray[np.float64]
Try = tuple[int, ConceptRegion, ConceptRegion]
"""Index of an image, the region to paste, and the region of the control."""

EXAMPLES = "examples.png"
"""Name of the sheet of successful examples."""

_PARTS = ("original", "donor", "result")
_MAX_EXAMPLES = 12
_BATCH = 16


def copy_paste_images(
    units: Sequence[Unit],
    data: ConceptsDataset,
    fires: NDArray[np.bool_],
    labels: Sequence[str],
    scores: ClassScores,
    request: CopyPasteRequest,
) -> tuple[CopyPasteResult, dict[str, bytes], str | None]:
    """Paste regions of required concepts into images without a class, and random regions as a control.

    Args:
        units: All units.
        data: The images.
        fires: Images in which each unit fires, bool [U, N].
        labels: Names of the C classes.
        scores: The model.
        request: The class, and the number of tries.

    Returns:
        The result, a sheet of the examples and their images (PNG) by name, and a warning if there was nothing to paste.
    """
    rng = np.random.default_rng(request.seed)
    target, threshold = list(labels).index(request.label), scores.threshold
    before = np.concatenate([scores([_decoded(data, i, scores) for i in batch]) for batch in _batches(len(data))])
    regions = find_regions(data)
    weights = unit_weights(units, request.label, fires.astype(np.float64), before[:, target])
    required = required_concepts(units, weights, request.units, list(regions))
    others = [name for name in regions if name not in required]
    without = np.flatnonzero(~_predicted(before, target, threshold))
    tries: list[Try] = []
    while required and others and len(without) and len(tries) < request.tries:
        index = int(without[len(tries) % len(without)])
        tries.append((index, _draw(regions, list(required), index, rng), _draw(regions, others, index, rng)))
    edited = _edited_scores(data, [(index, region) for index, region, _ in tries], scores)
    control = _edited_scores(data, [(index, region) for index, _, region in tries], scores)
    original = before[[index for index, *_ in tries]]
    successes = _predicted(edited, target, threshold)
    result = CopyPasteResult(
        label=request.label,
        proposed=success_rate(original, edited, target, successes),
        control=success_rate(original, control, target, _predicted(control, target, threshold)),
        changes=[f"paste {name}" for name in required],
        examples=[],
    )
    if not tries:
        warning = _no_tries_warning(request.label, list(required), len(without))
        return result, {EXAMPLES: pairs_sheet([], [], title=f"{request.label}: nothing to paste")}, warning
    gains = edited[:, target] - original[:, target]
    order = [row for row in np.argsort(-gains, kind="stable").tolist() if successes[row]][:_MAX_EXAMPLES]
    examples = [
        Edit(
            index=tries[row][0],
            change=f"paste {tries[row][1].concept} of {data.names[tries[row][1].index]}",
            formula=required[tries[row][1].concept].formula or "",
            unit=required[tries[row][1].concept].unit,
            layer=required[tries[row][1].concept].layer,
            before=[data.names[tries[row][0]]],
            after=[data.names[tries[row][0]]],
            predicted_before=_prediction(original[row], labels, target, threshold),
            predicted_after=_prediction(edited[row], labels, target, threshold),
            probability_before=float(original[row, target]),
            probability_after=float(edited[row, target]),
            donor=data.names[tries[row][1].index],
            images=[_image_name(number, part) for part in _PARTS],
        )
        for number, row in enumerate(order)
    ]
    files = {EXAMPLES: _sheet(data, [tries[row] for row in order], examples, request)}
    for number, row in enumerate(order):
        index, region, _ = tries[row]
        for part, image in zip(_PARTS, _panels(data, index, region), strict=True):
            files[_image_name(number, part)] = png_file(image)
    return result.model_copy(update={"examples": examples}), files, None


def _image_name(number: int, part: str) -> str:
    return f"example-{number}-{part}.png"


def _panels(data: ConceptsDataset, index: int, region: ConceptRegion) -> tuple[Image.Image, ...]:
    """Return the original, the donor with its region outlined, and the result, in the size of a panel."""
    original, donor = data.image(index), data.image(region.index)
    result = region.pasted(original, donor)
    return resized_to_panel(original), region_panel(donor, region.over(donor)), resized_to_panel(result)


def _no_tries_warning(label: str, required: Sequence[str], without: int) -> str:
    """Return why no image was edited."""
    if not without:
        return f"The model finds {label!r} in all images already, so there is no image to edit."
    if not required:
        return (
            f"No formula of a unit with a positive weight to {label!r} requires a concept that can be pasted: one with "
            "labelled pixels, in regions that are not too small."
        )
    return (
        f"Formulas require all concepts that can be pasted ({', '.join(required)}), so none is left as a control. "
        "Give fewer `units`."
    )


def _batches(count: int) -> list[range]:
    return [range(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]


def _draw(
    regions: dict[str, list[ConceptRegion]], concepts: Sequence[str], index: int, rng: np.random.Generator
) -> ConceptRegion:
    """Draw a region of one of the concepts, if possible of another image."""
    of_concept = regions[concepts[int(rng.integers(len(concepts)))]]
    elsewhere = [region for region in of_concept if region.index != index] or of_concept
    return elsewhere[int(rng.integers(len(elsewhere)))]


def _edited_scores(data: ConceptsDataset, edits: Sequence[tuple[int, ConceptRegion]], scores: ClassScores) -> Floats:
    """Return the scores of edited images, float64 [n, C]."""
    blocks = []
    for batch in _batches(len(edits)):
        some = [edits[place] for place in batch]
        blocks.append(
            scores([region.pasted(_decoded(data, index, scores), data.image(region.index)) for index, region in some])
        )
    return np.concatenate(blocks) if blocks else scores([])


def _decoded(data: ConceptsDataset, index: int, scores: ClassScores) -> Image.Image:
    """Return an image as the model's decoder gives it, so that pasting changes nothing outside of the region."""
    return data.input_image(index, scores.preprocessing).pixels


def _predicted(scores: Floats, target: int, threshold: float | None) -> NDArray[np.bool_]:
    """Return whether the class is predicted, bool [n]: by the highest score, or by a threshold if there is one."""
    if threshold is None:
        return np.asarray(scores.argmax(axis=1) == target)
    return np.asarray(scores[:, target] >= threshold)


def _prediction(scores: Floats, labels: Sequence[str], target: int, threshold: float | None) -> str:
    """Return the prediction of a classifier, or whether a detector finds the class."""
    if threshold is None:
        return labels[int(scores.argmax())]
    return labels[target] if scores[target] >= threshold else f"no {labels[target]}"


def _sheet(data: ConceptsDataset, tries: Sequence[Try], examples: Sequence[Edit], request: CopyPasteRequest) -> bytes:
    pairs = [(image := data.image(index), region.pasted(image, data.image(region.index))) for index, region, _ in tries]
    left, right = ([np.asarray(pair[side], np.uint8).transpose(2, 0, 1) for pair in pairs] for side in (0, 1))
    captions = [f"{one.probability_before:.2f} → {one.probability_after:.2f}" for one in examples]
    return pairs_sheet(left, right, captions, f"{request.label}, before and after pasting", ("before", "after"))

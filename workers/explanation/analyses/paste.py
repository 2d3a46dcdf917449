"""Paste into images what formulas ask for, and see whether the model finds the class then.

References:
    Mu, Andreas, "Compositional explanations of units", NeurIPS 2020, section 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label as connected_parts  # type: ignore[attr-defined]

from faceter.contracts.analyses import CopyPasteRequest, CopyPasteResult, Edit, SuccessRate
from faceter.contracts.explanations import Unit
from faceter.datasets.concepts import ConceptsDataset
from workers.explanation.analyses.class_scores import ClassScores
from workers.explanation.analyses.copy_paste import alternatives, wilson
from workers.figures.pairs import pairs_sheet

Floats = NDArray[np.float64]

EXAMPLES = "examples.png"
"""Name of the image of the most convincing changes."""

_LEAST_SHARE = 0.002
"""Smallest region worth pasting, as a share of its image."""
_SHOWN = 12
_AT_ONCE = 16


@dataclass(frozen=True)
class Region:
    """A part of an image that shows a concept."""

    concept: str
    """The concept."""
    index: int
    """Position of the image."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom."""
    mask: NDArray[np.bool_]
    """Which pixels of the box, bool [height, width]."""

    def pasted(self, into: Image.Image, source: Image.Image) -> Image.Image:
        """Return an image with the region at the place and in the size, as shares of the image, that it has."""
        left, top, right, bottom = self.box
        across, down = into.width / source.width, into.height / source.height
        size = (max(1, round((right - left) * across)), max(1, round((bottom - top) * down)))
        patch = source.crop(self.box).resize(size, Image.Resampling.BILINEAR)
        mask = Image.fromarray(self.mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        changed = into.copy()
        changed.paste(patch, (round(left * across), round(top * down)), mask)
        return changed


def regions_of(data: ConceptsDataset) -> dict[str, list[Region]]:
    """Return for each labelled concept the largest connected region in each image, where it is worth pasting."""
    found: dict[str, list[Region]] = {}
    for index in range(len(data)):
        for category, labels in zip(data.pixel_categories, data.label_maps(index), strict=True):
            for value in np.unique(labels[labels > 0]).tolist():
                region = _largest(data.categories[category][value - 1], index, labels == value)
                if region is not None:
                    found.setdefault(region.concept, []).append(region)
    return found


def _largest(concept: str, index: int, mask: NDArray[np.bool_]) -> Region | None:
    parts, count = connected_parts(mask)
    sizes = np.bincount(parts.reshape(-1), minlength=count + 1)[1:]
    if not count or sizes.max() < _LEAST_SHARE * mask.size:
        return None
    chosen = parts == int(sizes.argmax()) + 1
    rows, columns = np.flatnonzero(chosen.any(axis=1)), np.flatnonzero(chosen.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return Region(concept, index, box, chosen[box[1] : box[3], box[0] : box[2]])


def unit_weights(units: Sequence[Unit], label: str, peaks: Floats, scores: Floats) -> Floats:
    """Return how each unit goes with a class: its weight, or where there is none, the correlation with the score.

    Args:
        units: All units.
        label: The class.
        peaks: Whether each fires in each sample, float64 [U, N].
        scores: The class's score in each sample, float64 [N].
    """
    weights = [next((one.weight for one in unit.classes if one.label == label), None) for unit in units]
    if any(weight is not None for weight in weights):
        return np.array([0.0 if weight is None else weight for weight in weights])
    centred, apart = peaks - peaks.mean(axis=1, keepdims=True), scores - scores.mean()
    norms = np.linalg.norm(centred, axis=1) * np.linalg.norm(apart)
    return np.asarray(centred @ apart / np.where(norms > 0, norms, 1.0))


def asked_for(units: Sequence[Unit], weights: Floats, count: int, known: Sequence[str]) -> dict[str, Unit]:
    """Return what formulas of the units with the highest weights ask for and can be pasted, and who asks first."""
    order = [row for row in np.argsort(-weights, kind="stable") if weights[row] > 0 and units[row].tree is not None]
    found: dict[str, Unit] = {}
    for row in order[:count]:
        for literals in alternatives(units[row].tree):
            for name, asked in literals:
                if asked and name in known:
                    found.setdefault(name, units[row])
    return found


def paste(
    units: Sequence[Unit],
    data: ConceptsDataset,
    fires: NDArray[np.bool_],
    labels: Sequence[str],
    scores: ClassScores,
    request: CopyPasteRequest,
) -> tuple[CopyPasteResult, bytes, str | None]:
    """Paste what formulas ask for into images without the class, beside regions of concepts drawn at random.

    Args:
        units: All units.
        data: The images.
        fires: In which images each unit fires, bool [U, N].
        labels: Names of the classes.
        scores: The model.
        request: The class, and how many tries.

    Returns:
        What was found, an image of the most convincing changes, and why there was nothing to change, if so.
    """
    rng = np.random.default_rng(request.seed)
    wanted = list(labels).index(request.label)
    before = np.concatenate([scores([data.image(i) for i in part]) for part in _parts(len(data))])
    regions = regions_of(data)
    weights = unit_weights(units, request.label, fires.astype(np.float64), before[:, wanted])
    asked = asked_for(units, weights, request.units, list(regions))
    others = [name for name in regions if name not in asked]
    without = np.flatnonzero(~_there(before, wanted, scores.decides_at))
    tries: list[tuple[int, Region, Region]] = []
    while asked and others and len(without) and len(tries) < request.tries:
        index = int(without[len(tries) % len(without)])
        tries.append((index, _drawn(regions, list(asked), index, rng), _drawn(regions, others, index, rng)))
    after = [_scored(data, [(index, pair[way]) for index, *pair in tries], scores) for way in (0, 1)]
    at = before[[index for index, *_ in tries]]
    result = CopyPasteResult(
        label=request.label,
        proposed=_rate(at, after[0], wanted, scores.decides_at),
        control=_rate(at, after[1], wanted, scores.decides_at),
        changes=[f"paste {name}" for name in asked],
        examples=[],
    )
    if not tries:
        nothing = _why_nothing(request.label, asked, others, len(without))
        return result, pairs_sheet([], [], title=f"{request.label}: nothing to paste"), nothing
    gains = after[0][:, wanted] - at[:, wanted]
    there = _there(after[0], wanted, scores.decides_at)
    order = [row for row in np.argsort(-gains, kind="stable").tolist() if there[row]][:_SHOWN]
    examples = [
        Edit(
            index=tries[row][0],
            change=f"paste {tries[row][1].concept} of {data.names[tries[row][1].index]}",
            formula=asked[tries[row][1].concept].formula or "",
            unit=asked[tries[row][1].concept].unit,
            before=[data.names[tries[row][0]]],
            after=[data.names[tries[row][0]]],
            predicted_before=_said(at[row], labels, wanted, scores.decides_at),
            predicted_after=_said(after[0][row], labels, wanted, scores.decides_at),
            probability_before=float(at[row, wanted]),
            probability_after=float(after[0][row, wanted]),
        )
        for row in order
    ]
    found = result.model_copy(update={"examples": examples})
    return found, _sheet(data, [tries[row] for row in order], examples, request), None


def _why_nothing(label: str, asked: dict[str, Unit], others: Sequence[str], without: int) -> str:
    if not without:
        return f"The model finds {label!r} in every image already, so there is none to bring it about in."
    if not asked:
        return (
            f"No formula of a unit that goes with {label!r} asks for a concept that can be pasted: one with labelled "
            "pixels, in a region of some size."
        )
    return (
        f"Formulas ask for every concept that can be pasted ({', '.join(asked)}), so none is left to compare with. "
        "Take fewer `units`."
    )


def _parts(count: int) -> list[range]:
    return [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]


def _drawn(regions: dict[str, list[Region]], concepts: Sequence[str], index: int, rng: np.random.Generator) -> Region:
    """Return a region of one of the concepts, of another image where there is one."""
    of = regions[concepts[int(rng.integers(len(concepts)))]]
    elsewhere = [region for region in of if region.index != index] or of
    return elsewhere[int(rng.integers(len(elsewhere)))]


def _scored(data: ConceptsDataset, changes: Sequence[tuple[int, Region]], scores: ClassScores) -> Floats:
    """Return the scores of changed images, a few of them in memory at a time."""
    found = [
        scores(
            [
                changes[place][1].pasted(data.image(changes[place][0]), data.image(changes[place][1].index))
                for place in part
            ]
        )
        for part in _parts(len(changes))
    ]
    return np.concatenate(found) if found else scores([])


def _there(scores: Floats, wanted: int, threshold: float | None) -> NDArray[np.bool_]:
    if threshold is None:
        return np.asarray(scores.argmax(axis=1) == wanted)
    return np.asarray(scores[:, wanted] >= threshold)


def _said(scores: Floats, labels: Sequence[str], wanted: int, threshold: float | None) -> str:
    """Return what a classifier says, or whether a detector finds the class."""
    if threshold is None:
        return labels[int(scores.argmax())]
    return labels[wanted] if scores[wanted] >= threshold else f"no {labels[wanted]}"


def _rate(before: Floats, after: Floats, wanted: int, threshold: float | None) -> SuccessRate:
    successes = int(_there(after, wanted, threshold).sum()) if len(after) else 0
    return SuccessRate(
        tries=len(after),
        successes=successes,
        rate=successes / len(after) if len(after) else 0.0,
        interval=wilson(successes, len(after)),
        probability_gain=float((after[:, wanted] - before[:, wanted]).mean()) if len(after) else 0.0,
    )


def _sheet(
    data: ConceptsDataset,
    tries: Sequence[tuple[int, Region, Region]],
    examples: Sequence[Edit],
    request: CopyPasteRequest,
) -> bytes:
    pairs = [(image := data.image(index), region.pasted(image, data.image(region.index))) for index, region, _ in tries]
    left, right = ([np.asarray(pair[side], np.uint8).transpose(2, 0, 1) for pair in pairs] for side in (0, 1))
    captions = [f"{one.probability_before:.2f} → {one.probability_after:.2f}" for one in examples]
    return pairs_sheet(left, right, captions, f"{request.label}, before and after pasting", ("before", "after"))

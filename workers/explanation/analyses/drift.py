"""What became of units in another model of the same origin: where they fire, and what they are said to detect."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.analyses import ModelDrift, UnitDrift
from faceter.contracts.explanations import Unit
from workers.explanation.first_pass import FirstPass, Layer
from workers.explanation.sampling import Sampler

Floats = NDArray[np.float64]

_PIXELS_AT_ONCE = 2**19


@torch.inference_mode()
def overlaps(
    one: FirstPass,
    one_layer: Layer,
    one_over: NDArray[np.float32],
    other: FirstPass,
    other_layer: Layer,
    other_over: NDArray[np.float32],
    grid: tuple[int, int],
) -> Floats:
    """Return the IoU of where each unit fires in two models, float64 [U]; NaN where it fires in neither.

    Args:
        one: All samples, run by the one model.
        one_layer: A layer of it.
        one_over: Thresholds of its units, float32 [U].
        other: The same samples, run by the other.
        other_layer: The layer of that name.
        other_over: Thresholds of its units.
        grid: Rows and columns of pixels.
    """
    units = len(one_over)
    both, either = np.zeros(units, np.int64), np.zeros(units, np.int64)
    chunk = max(1, _PIXELS_AT_ONCE // (grid[0] * grid[1]))
    for sample in range(len(one_layer.maps)):
        frame = one.frame(sample)
        seen = torch.from_numpy(one.ids.rows(sample, sample + 1)[0] >= 0)
        first, second = (
            (torch.from_numpy(layer.maps.rows(sample, sample + 1)[0]), torch.from_numpy(over), layer.shape[1:])
            for layer, over in ((one_layer, one_over), (other_layer, other_over))
        )
        bring = [Sampler(grid, shape, frame) for _, _, shape in (first, second)]
        for start in range(0, units, chunk):
            part = slice(start, start + chunk)
            here, there = (
                (sampler(maps[part]) > over[part, None]) & seen
                for sampler, (maps, over, _) in zip(bring, (first, second), strict=True)
            )
            both[part] += (here & there).sum(dim=1).numpy()
            either[part] += (here | there).sum(dim=1).numpy()
    return np.where(either > 0, both / np.maximum(either, 1), np.nan)


def model_drift(
    model_id: str, bits: str | None, before: Sequence[Unit], after: Sequence[Unit], ious: Floats
) -> ModelDrift:
    """Return what became of units in one model.

    Args:
        model_id: The model.
        bits: Of its weights and activations.
        before: Units of the explained model.
        after: The same units of the other.
        ious: IoU of where each fires, float64 [U]; NaN where it fires in neither.
    """
    units = [
        UnitDrift(
            layer=one.layer,
            unit=one.unit,
            iou=0.0 if np.isnan(iou) else float(iou),
            formula_before=one.formula,
            formula_after=other.formula,
            same_formula=one.formula == other.formula,
            score_before=one.score,
            score_after=other.score,
        )
        for one, other, iou in zip(before, after, ious.tolist(), strict=True)
        if not np.isnan(iou)
    ]
    explained = [unit for unit in units if unit.formula_before is not None or unit.formula_after is not None]
    return ModelDrift(
        model_id=model_id,
        bits=bits,
        mean_iou=_mean([unit.iou for unit in units]),
        explained=len(explained),
        same_formula=_mean([float(unit.same_formula) for unit in explained]),
        score_change=_mean([unit.score_after - unit.score_before for unit in explained]),
        units=units,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0

"""Units of a model and of another of the same origin: overlap of firing masks, and changes of formulas."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.analyses import ModelDrift, UnitDrift
from faceter.contracts.units import Unit
from workers.explanation.recorded_activations import LayerActivations, RecordedActivations
from workers.explanation.upsampling import Upsampler

Floats = NDArray[np.float64]

_BLOCK_PIXELS = 2**19


@torch.inference_mode()
def firing_iou(
    one: RecordedActivations,
    one_layer: LayerActivations,
    one_thresholds: NDArray[np.float32],
    other: RecordedActivations,
    other_layer: LayerActivations,
    other_thresholds: NDArray[np.float32],
    grid: tuple[int, int],
) -> Floats:
    """Return the IoU of the firing masks of each unit in two models, float64 [U]; NaN where it fires in neither.

    Args:
        one: Activations of the one model.
        one_layer: A layer of it.
        one_thresholds: Activation thresholds, float32 [U].
        other: Activations of the other model on the same samples.
        other_layer: The layer of the same name.
        other_thresholds: Activation thresholds, float32 [U].
        grid: Rows and columns of pixels.
    """
    units = len(one_thresholds)
    intersection, union = np.zeros(units, np.int64), np.zeros(units, np.int64)
    chunk = max(1, _BLOCK_PIXELS // (grid[0] * grid[1]))
    for sample in range(len(one_layer.maps)):
        placement = one.placement(sample)
        visible = torch.from_numpy(one.pattern_ids.rows(sample, sample + 1)[0] >= 0)
        first, second = (
            (torch.from_numpy(layer.maps.rows(sample, sample + 1)[0]), torch.from_numpy(thresholds), layer.shape[1:])
            for layer, thresholds in ((one_layer, one_thresholds), (other_layer, other_thresholds))
        )
        upsamplers = [Upsampler(grid, shape, placement) for _, _, shape in (first, second)]
        for start in range(0, units, chunk):
            part = slice(start, start + chunk)
            here, there = (
                (upsampler(maps[part]) > thresholds[part, None]) & visible
                for upsampler, (maps, thresholds, _) in zip(upsamplers, (first, second), strict=True)
            )
            intersection[part] += (here & there).sum(dim=1).numpy()
            union[part] += (here | there).sum(dim=1).numpy()
    return np.where(union > 0, intersection / np.maximum(union, 1), np.nan)


def model_drift(
    model_id: str, bits: str | None, before: Sequence[Unit], after: Sequence[Unit], ious: Floats
) -> ModelDrift:
    """Compare the units of the explained model with those of another.

    Args:
        model_id: The other model.
        bits: Bits of its weights and activations.
        before: Units of the explained model.
        after: The same units of the other.
        ious: IoU of their firing masks, float64 [U]; NaN where a unit fires in neither.
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

"""The one number that a `max_drop` target limits: accuracy, or agreement with the float network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from faceter.contracts.quantizations import Agreement, Quality


@dataclass(frozen=True)
class AccuracyMeasurement:
    """Accuracy before and after quantization.

    Args:
        measure: Accuracy on the evaluation data, or agreement with the float network.
        before: Of the float network; 1 for agreement.
        after: Of the quantized network.
    """

    measure: Literal["accuracy", "agreement"]
    before: float
    after: float


def accuracy_of(agreement: Agreement, quality: Sequence[Quality]) -> AccuracyMeasurement:
    """Return the accuracy to compare with a target.

    With evaluation data it is the first score: top-1 accuracy, or mAP@0.5 for a detector. Without, it is agreement:
    the fraction of equal first classes, F1 of a detector's boxes, or for other outputs 1 − ‖difference‖ / ‖original‖
    and not below 0.
    """
    if quality:
        return AccuracyMeasurement("accuracy", quality[0].before, quality[0].after)
    for fraction in (agreement.top1, agreement.boxes):
        if fraction is not None:
            return AccuracyMeasurement("agreement", 1.0, fraction)
    return AccuracyMeasurement("agreement", 1.0, max(0.0, 1.0 - agreement.relative_error))

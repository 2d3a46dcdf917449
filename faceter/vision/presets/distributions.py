"""Heads that give each side of a box as a distribution over bins (distribution focal loss), not yet decoded."""

from typing import Any, Final

from faceter.contracts.models import TensorSpec
from faceter.vision.presets.head_shapes import PYRAMIDS, Fit, HeadShapes, by_stride, names_of, size_of

_BINS: Final = 16
_GRID: Final[dict[str, Any]] = {
    "head": "grid",
    "box_format": "distances",
    "center_shift": 0.5,
    "size_unit": "cell",
    "score_threshold": 0.25,
    "iou_threshold": 0.7,
    "max_detections": 300,
}


def dfl(shapes: HeadShapes) -> Fit | None:
    """Fit boxes of 4 · bins values and class logits at each stride, together or apart, or all strides in one output."""
    bins = shapes.said.get("bins") or _BINS
    return _maps(shapes, bins) or _concatenated(shapes, bins)


def _maps(shapes: HeadShapes, bins: int) -> Fit | None:
    """Fit an output, or one for boxes and one for classes, for each stride: [N, values, rows, columns]."""
    every = by_stride(shapes.all_of_rank(4))
    boxes = [spec for spec in every if size_of(spec, 1) == 4 * bins]
    if boxes:
        others = [spec for spec in every if spec not in boxes]
        widths = {size_of(spec, 1) for spec in others if shapes.classes in (None, size_of(spec, 1))}
        if shapes.classes is None:
            widths -= {1}
        scores = [spec for spec in others if size_of(spec, 1) in widths]
        if len(widths) == 1 and len(scores) == len(boxes):
            fields = {"boxes": names_of(boxes), "scores": names_of(scores), "class_offset": 0}
            return Fit({**_GRID, **fields, "bins": bins, "class_activation": shapes.activation(scores[0], "sigmoid")})
    joint = [spec for spec in every if (size_of(spec, 1) or 0) > 4 * bins and _has_classes(shapes, spec, 1, bins)]
    if joint and len({size_of(spec, 1) for spec in joint}) == 1:
        fields = {"boxes": names_of(joint), "class_offset": 4 * bins, "class_activation": "sigmoid"}
        return Fit({**_GRID, **fields, "bins": bins})
    return None


def _concatenated(shapes: HeadShapes, bins: int) -> Fit | None:
    """Fit all strides in one output, [N, values, cells] or [N, cells, values], classes in it or apart."""
    every = shapes.all_of_rank(3)
    for spec in every:
        for axis, layout in ((1, "channels_first"), (2, "channels_last")):
            strides = _strides(shapes, size_of(spec, 3 - axis))
            if strides is None:
                continue
            fields = {**_GRID, "boxes": spec.name, "layout": layout, "strides": list(strides), "bins": bins}
            values = size_of(spec, axis)
            if values == 4 * bins:
                for scores in every:
                    if scores is not spec and shapes.classes in (None, size_of(scores, axis)):
                        activation = shapes.activation(scores, "sigmoid")
                        beside = {"scores": scores.name, "class_offset": 0, "class_activation": activation}
                        return Fit({**fields, **beside})
            elif values is not None and values > 4 * bins and _has_classes(shapes, spec, axis, bins):
                return Fit({**fields, "class_offset": 4 * bins, "class_activation": "sigmoid"})
    return None


def _has_classes(shapes: HeadShapes, spec: TensorSpec, axis: int, bins: int) -> bool:
    """Whether the values beside those of a box can be the class scores, whichever stand first."""
    values = size_of(spec, axis)
    return values is not None and shapes.classes in (None, values - 4 * bins)


def _strides(shapes: HeadShapes, cells: int | None) -> tuple[int, ...] | None:
    """Return the strides whose feature maps have this number of cells; the usual ones if it is open."""
    if cells is None or shapes.input_size is None:
        return PYRAMIDS[0]
    return next((strides for strides in PYRAMIDS if shapes.cells(strides) == cells), None)

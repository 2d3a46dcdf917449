"""Heads of YOLOv8 and its successors: centre, size and class probabilities of each candidate, decoded in the graph."""

from typing import Any, Final

from faceter.contracts.models import TensorSpec
from faceter.vision.presets.distributions import dfl
from faceter.vision.presets.head_shapes import PYRAMIDS, Fit, HeadShapes, may_be, size_of

_SUPPRESSED: Final = {"score_threshold": 0.25, "iou_threshold": 0.7, "max_detections": 300}
_DIRECT: Final[dict[str, Any]] = {
    "head": "direct",
    "box_format": "center_size",
    "box_units": "pixels",
    "class_offset": 4,
}
_MOST_SELECTED: Final = 1000
_SELECTED_VALUES: Final = 6
_KEYPOINT_VALUES: Final = 3


def yolov8(shapes: HeadShapes) -> Fit | None:
    """Fit [N, 4 + classes, candidates]; exports with their own suppression and those without decoding, too."""
    selected = yolov10(shapes)
    if selected is not None:
        return Fit(selected.fields)
    return _first_fit(shapes, extra=0) or dfl(shapes)


def yolov8_seg(shapes: HeadShapes) -> Fit | None:
    """Fit [N, 4 + classes + masks, candidates] and prototypes [N, masks, rows, columns].

    With suppression in the graph it is [N, boxes, 6 + masks].
    """
    for prototypes in shapes.all_of_rank(4):
        count = size_of(prototypes, 1)
        if count is None:
            continue
        selected = _selected(shapes, extra=count)
        fit = selected or _first_fit(shapes, extra=count)
        if fit is not None:
            offset = _SELECTED_VALUES if selected else 4 + fit.fields["class_count"]
            masks = {"prototypes": prototypes.name, "offset": offset, "count": count}
            return Fit({**fit.fields, "masks": masks}, fit.certain)
    return None


def yolov8_pose(shapes: HeadShapes) -> Fit | None:
    """Fit [N, 4 + classes + 3 · key points, candidates].

    With suppression in the graph it is [N, boxes, 6 + 3 · key points].
    """
    said = shapes.said.get("keypoints") or {}
    points, values = shapes.keypoint_shape or (None, _KEYPOINT_VALUES)
    points, values = said.get("count", points), said.get("values", values)
    if points is not None:
        selected = _selected(shapes, extra=points * values)
        if selected is not None:
            keypoints = {"offset": _SELECTED_VALUES, "count": points, "values": values}
            return Fit({**selected.fields, "keypoints": keypoints}, shapes.keypoint_shape is not None)
    for spec in shapes.of_rank(3):
        classes = shapes.classes or 1
        extra = None if points is None else points * values
        if extra is None:
            sizes = [size for size in (size_of(spec, 1), size_of(spec, 2)) if size is not None]
            extra = min(sizes, default=0) - 4 - classes
            if extra <= 0 or extra % values:
                continue
        fit = _fit(shapes, spec, extra, classes)
        if fit is not None:
            keypoints = {"offset": 4 + classes, "count": extra // values, "values": values}
            return Fit({**fit.fields, "keypoints": keypoints}, fit.certain and shapes.keypoint_shape is not None)
    return None


def yolov10(shapes: HeadShapes) -> Fit | None:
    """Fit [N, boxes, 6]: left, top, right, bottom, score and class of boxes that need no suppression."""
    fit = _selected(shapes, extra=0)
    return Fit(fit.fields, fit.certain and len(shapes.outputs) == 1) if fit is not None else None


def _selected(shapes: HeadShapes, extra: int) -> Fit | None:
    """Fit [N, boxes, 6 + extra] of boxes that the graph has selected."""
    for spec in shapes.of_rank(3):
        count, values = size_of(spec, 1), size_of(spec, 2)
        if values == _SELECTED_VALUES + extra and (count is None or count <= _MOST_SELECTED):
            fields = {
                "head": "direct",
                "boxes": spec.name,
                "layout": "channels_last",
                "box_format": "corners",
                "box_units": "pixels",
                "objectness_offset": 4,
                "class_offset": None,
                "class_index_offset": 5,
                "score_threshold": 0.25,
                "iou_threshold": 1.0,
                "max_detections": 300,
            }
            return Fit(fields, certain=count == _SUPPRESSED["max_detections"])
    return None


def _first_fit(shapes: HeadShapes, extra: int) -> Fit | None:
    fits = (_fit(shapes, spec, extra, shapes.classes) for spec in shapes.of_rank(3))
    return next((fit for fit in fits if fit is not None), None)


def _fit(shapes: HeadShapes, spec: TensorSpec, extra: int, classes: int | None) -> Fit | None:
    """Fit one output [N, values, candidates], or with both axes exchanged."""
    first, last = size_of(spec, 1), size_of(spec, 2)
    if classes is None and (first is None or last is None):
        values, candidates, layout = (first, last, "channels_first") if last is None else (last, first, "channels_last")
        if values is None or last is not None:
            return None
    elif classes is None:
        assert first is not None
        assert last is not None
        layout = "channels_first" if first < last else "channels_last"
        values, candidates = min(first, last), max(first, last)
    else:
        values = 4 + classes + extra
        if may_be(first, values) and (first is not None or last != values):
            layout, candidates = "channels_first", last
        elif may_be(last, values):
            layout, candidates = "channels_last", first
        else:
            return None
    if values - 4 - extra < 1:
        return None
    counts = [shapes.cells(strides) for strides in PYRAMIDS]
    if not any(may_be(candidates, count) for count in counts):
        return None
    class_count = values - 4 - extra
    certain = shapes.classes is not None and values in (first, last)
    return Fit({**_DIRECT, **_SUPPRESSED, "boxes": spec.name, "layout": layout, "class_count": class_count}, certain)

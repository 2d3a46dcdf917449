"""Heads of YOLOv5, YOLOX, YOLO-NAS and FastestDet."""

from typing import Any, Final

from faceter.contracts.models import TensorSpec
from faceter.vision.presets.head_shapes import (
    BOX_WORDS,
    PYRAMIDS,
    Fit,
    HeadShapes,
    by_stride,
    may_be,
    names_about,
    names_of,
    size_of,
)
from faceter.vision.presets.selected import selected_boxes

_ANCHORS: Final = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
"""Anchors of YOLOv5 at strides 8, 16 and 32, width and height in pixels."""

_SCORED: Final[dict[str, Any]] = {
    "objectness_offset": 4,
    "class_offset": 5,
    "score_threshold": 0.25,
    "iou_threshold": 0.45,
    "max_detections": 300,
}


def yolov5(shapes: HeadShapes) -> Fit | None:
    """Fit [N, candidates, 5 + classes] decoded in the graph, or one output with raw values for each stride."""
    per_cell = len(_ANCHORS[0])
    for spec in shapes.of_rank(3):
        candidates, values = size_of(spec, 1), size_of(spec, 2)
        counts = [None if cells is None else per_cell * cells for cells in map(shapes.cells, PYRAMIDS)]
        matches = any(may_be(candidates, count) for count in counts)
        if matches and _fits_classes(shapes, values) and (candidates or values):
            certain = values is not None and (
                shapes.classes is not None or (candidates is not None and candidates in counts)
            )
            fields = {"boxes": spec.name, "layout": "channels_last", "box_units": "pixels", **_count(shapes, values)}
            return Fit({"head": "direct", **fields, **_SCORED}, certain)
    return _raw_yolov5(shapes)


def _raw_yolov5(shapes: HeadShapes) -> Fit | None:
    """Fit [N, 3 · (5 + classes), rows, columns] or [N, 3, rows, columns, 5 + classes] for each stride."""
    per_cell = len(_ANCHORS[0])
    joined, split = by_stride(shapes.all_of_rank(4)), shapes.all_of_rank(5)
    if len(split) == len(_ANCHORS) and all(may_be(size_of(spec, 1), per_cell) for spec in split):
        outputs, layout = sorted(split, key=lambda spec: -(size_of(spec, 2) or 0)), "channels_last"
        values = size_of(outputs[0], 4)
    elif len(joined) == len(_ANCHORS):
        outputs, layout, total = joined, "channels_first", size_of(joined[0], 1)
        if total is None or total % per_cell:
            return None
        values = total // per_cell
    else:
        return None
    if shapes.input_size is None or not _fits_classes(shapes, values):
        return None
    height, width = shapes.input_size
    anchors = [[across / width, down / height] for level in _ANCHORS for across, down in level]
    fields = {
        "head": "grid",
        "boxes": names_of(outputs),
        "layout": layout,
        "anchors_per_cell": per_cell,
        "center_activation": "sigmoid",
        "center_shift": -0.5,
        "size_activation": "sigmoid",
        "size_factor": 4.0,
        "size_power": 2.0,
        "size_unit": "anchor",
        "anchors": anchors,
        "variances": [2.0, 1.0],
        "objectness_activation": "sigmoid",
        "class_activation": "sigmoid",
    }
    return Fit({**fields, **_SCORED})


def yolox(shapes: HeadShapes) -> Fit | None:
    """Fit [N, cells, 5 + classes], centres and sizes relative to the cell, or one output for each stride."""
    fields = {
        "head": "grid",
        "size_activation": "exp",
        "size_unit": "cell",
        "box_format": "center_size",
        **_SCORED,
    }
    for spec in shapes.of_rank(3):
        cells, values = size_of(spec, 1), size_of(spec, 2)
        strides = next((some for some in PYRAMIDS if may_be(cells, shapes.cells(some))), None)
        if strides is not None and _fits_classes(shapes, values) and (cells or values):
            if shapes.said.get("head") == "direct":
                beside = {"layout": "channels_last", "box_units": "pixels", **_count(shapes, values)}
                return Fit({"head": "direct", "boxes": spec.name, **beside, **_SCORED})
            return Fit({**fields, "boxes": spec.name, "layout": "channels_last", "strides": list(strides)})
    maps = by_stride(shapes.all_of_rank(4))
    if len(maps) in map(len, PYRAMIDS) and all(_fits_classes(shapes, size_of(spec, 1)) for spec in maps):
        return Fit({**fields, "boxes": names_of(maps)})
    apart = _maps_apart(shapes, maps)
    return None if apart is None else Fit({**fields, **apart})


def _maps_apart(shapes: HeadShapes, maps: list[TensorSpec]) -> dict[str, Any] | None:
    """Fit boxes, objectness and classes in outputs of their own for each stride: 4, 1 and C values of each cell."""
    boxes = _of_values(maps, 4, BOX_WORDS, shapes.classes)
    objectness = _of_values(maps, 1, ("obj",), shapes.classes)
    scores = [spec for spec in maps if spec not in boxes and spec not in objectness]
    if not len(boxes) == len(objectness) == len(scores) or len(boxes) not in map(len, PYRAMIDS):
        return None
    if not all(may_be(size_of(spec, 1), shapes.classes) for spec in scores):
        return None
    return {
        "boxes": names_of(boxes),
        "objectness": names_of(objectness),
        "objectness_offset": 0,
        "objectness_activation": shapes.activation(objectness[0], "sigmoid"),
        "scores": names_of(scores),
        "class_offset": 0,
        "class_activation": shapes.activation(scores[0], "sigmoid"),
    }


def _of_values(maps: list[TensorSpec], values: int, words: tuple[str, ...], classes: int | None) -> list[TensorSpec]:
    """Return the maps with this number of values of a cell; if classes are as many, those named so."""
    found = [spec for spec in maps if size_of(spec, 1) == values]
    return names_about(found, words) if classes == values else found


def yolo_nas(shapes: HeadShapes) -> Fit | None:
    """Fit boxes [N, candidates, 4] and scores [N, candidates, classes], or boxes that are selected in the graph."""
    selected = selected_boxes(shapes)
    if selected is not None:
        return Fit({**selected.fields, "box_units": "pixels"}, selected.certain)
    boxes = shapes.boxes_apart()
    if boxes is None or not any(may_be(size_of(boxes, 1), shapes.cells(some)) for some in PYRAMIDS):
        return None
    for scores in shapes.all_of_rank(3):
        if scores is not boxes and may_be(size_of(scores, 1), size_of(boxes, 1)) and _is_classes(shapes, scores):
            fields = {
                "head": "direct",
                "boxes": boxes.name,
                "scores": scores.name,
                "layout": "channels_last",
                "box_format": "corners",
                "box_units": "pixels",
                "score_threshold": 0.25,
                "iou_threshold": 0.7,
                "max_detections": 300,
            }
            return Fit(fields)
    return None


def fastestdet(shapes: HeadShapes) -> Fit | None:
    """Fit one map [N, 5 + classes, rows, columns] with objectness first."""
    maps = shapes.of_rank(4)
    if len(maps) != 1 or not _fits_classes(shapes, size_of(maps[0], 1)):
        return None
    fields = {
        "head": "grid",
        "boxes": maps[0].name,
        "objectness_offset": 0,
        "box_offset": 1,
        "class_offset": 5,
        "center_activation": "tanh",
        "size_activation": "sigmoid",
        "objectness_power": 0.6,
        "class_power": 0.4,
    }
    return Fit(fields)


def _fits_classes(shapes: HeadShapes, values: int | None) -> bool:
    """Whether a candidate can have box, objectness and classes."""
    if values is None or shapes.classes is None:
        return values is None or values > 5
    return values == 5 + shapes.classes


def _is_classes(shapes: HeadShapes, scores: TensorSpec) -> bool:
    return may_be(size_of(scores, 2), shapes.classes)


def _count(shapes: HeadShapes, values: int | None) -> dict[str, Any]:
    return {"class_count": values - 5} if values is not None else {}

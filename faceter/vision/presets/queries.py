"""Heads of DETR and RT-DETR: one box for each query, without suppression."""

from typing import Any, Final

from faceter.contracts.models import TensorSpec
from faceter.vision.presets.head_shapes import BOX_VALUES, Fit, HeadShapes, may_be, names_about, size_of
from faceter.vision.presets.selected import selected_boxes

_QUERIES: Final[dict[str, Any]] = {
    "head": "direct",
    "layout": "channels_last",
    "box_format": "center_size",
    "box_units": "normalized",
    "iou_threshold": 1.0,
    "max_detections": 300,
}
_SIZE_INPUTS: Final = {
    "orig_target_sizes": "width_height",
    "im_shape": "height_width",
    "scale_factor": "one",
}
"""Inputs of RT-DETR's authors and of PaddleDetection for the size of an image."""
_PADDLE_VALUES: Final = 6
_MOST_QUERIES: Final = 1000


def detr(shapes: HeadShapes) -> Fit | None:
    """Fit class logits [N, queries, classes + 1], no object last, and boxes [N, queries, 4]."""
    pair = _logits_and_boxes(shapes)
    if pair is None:
        return None
    logits, boxes = pair
    total = size_of(logits, 2)
    count = total if total is not None else None if shapes.classes is None else shapes.classes + 1
    if count is None or (shapes.classes is not None and count != shapes.classes + 1):
        return None
    fields = {
        **_QUERIES,
        "boxes": boxes.name,
        "scores": logits.name,
        "class_count": count,
        "class_activation": shapes.activation(logits, "softmax"),
        "background_class": count - 1,
    }
    return Fit(fields, certain=shapes.classes is not None and total is not None and _is_named(logits, boxes))


def rt_detr(shapes: HeadShapes) -> Fit | None:
    """Fit class logits [N, queries, classes] and boxes [N, queries, 4]; or boxes in pixels with labels and scores."""
    selected = selected_boxes(shapes)
    if selected is not None:
        sizes = _size_inputs(shapes)
        return Fit({**selected.fields, "box_units": "pixels", **sizes}, certain="size_inputs" in sizes)
    paddle = _paddle(shapes)
    if paddle is not None:
        return paddle
    pair = _logits_and_boxes(shapes)
    if pair is None or not may_be(size_of(pair[0], 2), shapes.classes):
        return _joint(shapes)
    logits, boxes = pair
    fields = {
        **_QUERIES,
        "boxes": boxes.name,
        "scores": logits.name,
        "class_activation": shapes.activation(logits, "sigmoid"),
        "multi_label": True,
    }
    return Fit(fields, certain=shapes.classes == size_of(logits, 2) and _is_named(logits, boxes))


def _joint(shapes: HeadShapes) -> Fit | None:
    """Fit Ultralytics' [N, queries, 4 + classes]: boxes in fractions of the input, and class probabilities."""
    for spec in shapes.of_rank(3):
        queries, values = size_of(spec, 1), size_of(spec, 2)
        if queries is not None and queries > _MOST_QUERIES:
            continue
        if values is not None and values > BOX_VALUES and shapes.classes in (None, values - BOX_VALUES):
            return Fit({**_QUERIES, "boxes": spec.name, "class_offset": BOX_VALUES, "multi_label": True})
    return None


def _paddle(shapes: HeadShapes) -> Fit | None:
    """Fit PaddleDetection's [boxes of all images, 6] (class, score, box) and the number of boxes of each image."""
    rows = [spec for spec in shapes.of_rank(2) if size_of(spec, 1) == _PADDLE_VALUES]
    counts = [spec for spec in shapes.all_of_rank(1) if spec.dtype in ("int32", "int64")]
    if len(rows) != 1 or len(counts) != 1:
        return None
    fields: dict[str, Any] = {
        "head": "direct",
        "boxes": rows[0].name,
        "count": counts[0].name,
        "layout": "channels_last",
        "box_format": "corners",
        "box_units": "pixels",
        "box_offset": 2,
        "objectness_offset": 1,
        "class_offset": None,
        "class_index_offset": 0,
        "iou_threshold": 1.0,
        "max_detections": 300,
        **_size_inputs(shapes),
    }
    return Fit(fields, certain="size_inputs" in fields)


def _size_inputs(shapes: HeadShapes) -> dict[str, Any]:
    """Return the field `size_inputs`, if there are inputs of these names."""
    found = {spec.name: _SIZE_INPUTS[spec.name] for spec in shapes.inputs if spec.name in _SIZE_INPUTS}
    return {"size_inputs": found} if found else {}


def _logits_and_boxes(shapes: HeadShapes) -> tuple[TensorSpec, TensorSpec] | None:
    boxes = shapes.boxes_apart()
    if boxes is None:
        return None
    every = shapes.all_of_rank(3)
    others = [spec for spec in every if spec is not boxes and may_be(size_of(spec, 1), size_of(boxes, 1))]
    logits = names_about(others, ("logits",)) or others
    return (logits[0], boxes) if logits else None


def _is_named(logits: TensorSpec, boxes: TensorSpec) -> bool:
    return logits.name in ("logits", "pred_logits") and boxes.name == "pred_boxes"

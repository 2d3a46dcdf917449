"""Boxes that the graph has already selected: one box, score and class index each."""

from typing import Any, Final

from faceter.vision.presets.head_shapes import Fit, HeadShapes, size_of

_SELECTED: Final[dict[str, Any]] = {
    "head": "direct",
    "layout": "channels_last",
    "box_format": "corners",
    "iou_threshold": 1.0,
    "max_detections": 300,
}


def selected_boxes(shapes: HeadShapes, *, by_tensorflow: bool = False) -> Fit | None:
    """Fit boxes [N, boxes, 4], scores and class indices [N, boxes], with or without their number for each image.

    Args:
        shapes: The model's outputs.
        by_tensorflow: Whether names and conventions of TensorFlow's Object Detection API are for this head as well.
    """
    tensorflow = shapes.named("detection_boxes")
    if tensorflow and not by_tensorflow:
        return None
    boxes = tensorflow or shapes.named("boxes", "dets")
    classes = shapes.named("detection_classes") if tensorflow else shapes.named("classes", "labels", "class_ids")
    scores = shapes.named("detection_scores") if tensorflow else shapes.named("scores")
    if boxes is None or classes is None or scores is None or size_of(boxes, -1) != 4:
        return None
    if len(scores.shape) >= len(boxes.shape) or len(classes.shape) >= len(boxes.shape):
        return None
    count = shapes.named("num_detections", "num_predictions", "num_dets")
    fields: dict[str, Any] = {**_SELECTED, "boxes": boxes.name, "scores": scores.name, "classes": classes.name}
    if count is not None:
        fields["count"] = count.name
    if tensorflow is None:
        return Fit(fields, certain=False)
    fields |= {"coordinate_order": "yx", "box_units": "normalized", "background_class": 0}
    return Fit(fields, certain=True)

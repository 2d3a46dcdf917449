"""The presets by name: what outputs each expects, and how it is fitted to them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from faceter.contracts.detection import DetectionPreset
from faceter.vision.presets.anchored import centernet, retinanet, ssd
from faceter.vision.presets.distributions import dfl
from faceter.vision.presets.head_shapes import Fit, HeadShapes
from faceter.vision.presets.queries import detr, rt_detr
from faceter.vision.presets.ultralytics import yolov8, yolov8_pose, yolov8_seg, yolov10
from faceter.vision.presets.yolo import fastestdet, yolo_nas, yolov5, yolox


@dataclass(frozen=True)
class HeadPreset:
    """A well-known detection head."""

    expects: str
    """Outputs that it is for."""
    fit: Callable[[HeadShapes], Fit | None]
    """Return the description of a model's head, or None if the outputs are not of this kind."""


_DECODED: Final = "[N, 4 + classes, candidates], decoded"

PRESETS: Final[dict[DetectionPreset, HeadPreset]] = {
    DetectionPreset.YOLOV5: HeadPreset(
        "[N, candidates, 5 + classes], decoded; or three raw outputs of 3 · (5 + classes) values a cell", yolov5
    ),
    DetectionPreset.YOLOV8: HeadPreset(_DECODED, yolov8),
    DetectionPreset.YOLOV8_SEG: HeadPreset(
        "[N, 4 + classes + masks, candidates] and prototypes [N, masks, rows, columns]", yolov8_seg
    ),
    DetectionPreset.YOLOV8_POSE: HeadPreset("[N, 4 + classes + 3 · key points, candidates]", yolov8_pose),
    DetectionPreset.YOLOV10: HeadPreset("[N, boxes, 6], at most 1,000 boxes", yolov10),
    DetectionPreset.YOLO11: HeadPreset(_DECODED, yolov8),
    DetectionPreset.YOLOX: HeadPreset(
        "[N, cells, 5 + classes], not decoded; or one map for each stride, or maps of boxes, objectness and classes",
        yolox,
    ),
    DetectionPreset.YOLO_NAS: HeadPreset(
        "boxes [N, candidates, 4] and scores [N, candidates, classes]; or selected boxes, scores and classes", yolo_nas
    ),
    DetectionPreset.SSD: HeadPreset(
        "offsets [N, anchors, 4] and scores [N, anchors, 1 + classes] of SSD300 or SSDLite320; or selected boxes, "
        "scores and classes",
        ssd,
    ),
    DetectionPreset.RETINANET: HeadPreset(
        "offsets [N, anchors, 4] and scores [N, anchors, classes] of nine anchors a cell, or both for each of five "
        "strides; or selected boxes, scores and classes",
        retinanet,
    ),
    DetectionPreset.DETR: HeadPreset("logits [N, queries, classes + 1] and boxes [N, queries, 4]", detr),
    DetectionPreset.RT_DETR: HeadPreset(
        "logits [N, queries, classes] and boxes [N, queries, 4]; or labels, boxes and scores; or [boxes, 6] and their "
        "number",
        rt_detr,
    ),
    DetectionPreset.CENTERNET: HeadPreset("a heat map [N, classes, …], sizes [N, 2, …], offsets [N, 2, …]", centernet),
    DetectionPreset.FASTESTDET: HeadPreset("one map [N, 5 + classes, rows, columns]", fastestdet),
    DetectionPreset.DFL: HeadPreset(
        "maps of 4 · bins + classes values, or of 4 · bins and of classes, for each stride", dfl
    ),
}
"""Every preset."""

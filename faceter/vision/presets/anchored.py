"""Heads of SSD and RetinaNet, relative to anchors, and of CenterNet, relative to cells."""

from typing import Any, Final

from faceter.contracts.detection_parts import AnchorGrid
from faceter.contracts.models import TensorSpec
from faceter.vision.anchors import anchor_counts
from faceter.vision.presets.head_shapes import (
    BOX_WORDS,
    Fit,
    HeadShapes,
    by_stride,
    may_be,
    names_about,
    names_of,
    size_of,
)
from faceter.vision.presets.selected import selected_boxes

_SSD_RATIOS: Final = [[2.0], [2.0, 3.0], [2.0, 3.0], [2.0, 3.0], [2.0], [2.0]]
SSD_GRIDS: Final = (
    AnchorGrid(
        strides=[8, 16, 32, 64, 100, 300],
        sizes=[[21, 45], [45, 99], [99, 153], [153, 207], [207, 261], [261, 315]],
        ratios=_SSD_RATIOS,
        arrangement="ssd",
        offset=0.5,
        clipped=True,
    ),
    AnchorGrid(
        strides=[16, 32, 64, 320 / 3, 160, 320],
        sizes=[[64, 112], [112, 160], [160, 208], [208, 256], [256, 304], [304, 320]],
        ratios=[[2.0, 3.0]],
        arrangement="ssd",
        offset=0.5,
        clipped=True,
    ),
)
"""Anchors of SSD300 (VGG16) and SSDLite320 (MobileNetV3), both as in torchvision."""


def ssd(shapes: HeadShapes) -> Fit | None:
    """Fit offsets [N, anchors, 4] and class scores [N, anchors, 1 + classes]; or boxes selected in the graph."""
    selected = selected_boxes(shapes, by_tensorflow=True)
    if selected is not None:
        return Fit({"box_units": "pixels", **selected.fields}, selected.certain)
    pair = _boxes_and_scores(shapes)
    if pair is None:
        return None
    boxes, scores = pair
    if shapes.classes is not None and not may_be(size_of(scores, 2), shapes.classes + 1):
        return None
    count, size = size_of(boxes, 1), shapes.input_size
    grids = [_merged(grid, shapes.said.get("anchor_grid") or {}) for grid in SSD_GRIDS]
    fitting = [grid for grid in grids if size is not None and may_be(count, _anchors(grid, size))]
    listed = shapes.said.get("anchors")
    if not fitting and not listed:
        return None
    fields: dict[str, Any] = {
        "head": "anchors",
        "boxes": boxes.name,
        "scores": scores.name,
        "layout": "channels_last",
        "variances": [0.1, 0.2],
        "size_activation": "exp",
        "class_activation": shapes.activation(scores, "softmax"),
        "background_class": 0,
        "multi_label": True,
    }
    return Fit(fields if listed else {**fields, "anchor_grid": fitting[0].model_dump()})


def retinanet(shapes: HeadShapes) -> Fit | None:
    """Fit offsets and class logits for nine anchors of each cell, in one output or in one for each stride."""
    selected = selected_boxes(shapes, by_tensorflow=True)
    if selected is not None:
        return Fit({"box_units": "pixels", **selected.fields})
    grid = _merged(AnchorGrid(rounded=True), shapes.said.get("anchor_grid") or {})
    fields: dict[str, Any] = {
        "head": "anchors",
        "size_activation": "exp",
        "anchor_grid": grid.model_dump(),
        "score_threshold": 0.3,
        "iou_threshold": 0.5,
        "multi_label": True,
    }
    pair = _boxes_and_scores(shapes)
    if pair is not None and shapes.input_size is not None:
        boxes, scores = pair
        anchors = _anchors(grid, shapes.input_size)
        if may_be(size_of(boxes, 1), anchors) and may_be(size_of(scores, 2), shapes.classes):
            activation = shapes.activation(scores, "sigmoid")
            beside = {"boxes": boxes.name, "scores": scores.name, "layout": "channels_last"}
            return Fit({**fields, **beside, "class_activation": activation})
    each = 1 if grid.problem() else grid.per_cell[0]
    maps = by_stride(shapes.all_of_rank(4))
    offsets = [spec for spec in maps if size_of(spec, 1) == 4 * each]
    if len(offsets) > len(grid.strides):
        offsets = names_about(offsets, BOX_WORDS)
    logits = [spec for spec in maps if spec not in offsets]
    count = None if shapes.classes is None else each * shapes.classes
    if len(offsets) == len(logits) == len(grid.strides) and all(may_be(size_of(spec, 1), count) for spec in logits):
        activation = shapes.activation(logits[0], "sigmoid")
        return Fit({**fields, "boxes": names_of(offsets), "scores": names_of(logits), "class_activation": activation})
    return None


def centernet(shapes: HeadShapes) -> Fit | None:
    """Fit a heat map of each class, sizes and offsets of centres: [N, classes], [N, 2] and [N, 2] on one map."""
    maps = shapes.all_of_rank(4)
    heat, sizes, offsets = (_about(maps, words) for words in (("heat", "hm"), ("wh", "size"), ("reg", "off")))
    if heat is None or sizes is None or offsets is None:
        two = [spec for spec in maps if size_of(spec, 1) == 2]
        others = [spec for spec in maps if spec not in two]
        if len(two) != 2 or len(others) != 1:
            return None
        heat, (sizes, offsets) = others[0], two
    if not may_be(size_of(heat, 1), shapes.classes):
        return None
    fields = {
        "head": "grid",
        "boxes": sizes.name,
        "centers": offsets.name,
        "scores": heat.name,
        "size_unit": "cell",
        "class_activation": shapes.activation(heat, "sigmoid"),
        "peak_window": 3,
        "multi_label": True,
        "iou_threshold": 1.0,
    }
    return Fit(fields)


def _about(maps: list[TensorSpec], words: tuple[str, ...]) -> TensorSpec | None:
    found = names_about(maps, words)
    return found[0] if len(found) == 1 else None


def _boxes_and_scores(shapes: HeadShapes) -> tuple[TensorSpec, TensorSpec] | None:
    """Return outputs [N, anchors, 4] and [N, anchors, classes]."""
    boxes = shapes.boxes_apart()
    if boxes is None:
        return None
    others = [
        spec for spec in shapes.all_of_rank(3) if spec is not boxes and may_be(size_of(spec, 1), size_of(boxes, 1))
    ]
    return (boxes, others[0]) if len(others) == 1 else None


def _anchors(grid: AnchorGrid, input_size: tuple[int, int]) -> int | None:
    """Return the number of anchors; None if the grid contradicts itself, which is reported later."""
    return None if grid.problem() else sum(anchor_counts(grid, input_size))


def _merged(grid: AnchorGrid, said: dict[str, Any]) -> AnchorGrid:
    return AnchorGrid.model_validate({**grid.model_dump(), **said})

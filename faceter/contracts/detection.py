"""Decoding of the raw outputs of a detector to boxes."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from faceter.contracts.base import Contract
from faceter.contracts.detection_parts import (
    Activation,
    AnchorGrid,
    DetectionPreset,
    KeypointDecoding,
    MaskDecoding,
)

__all__ = ["Activation", "DetectionDecoding", "DetectionPreset"]

OutputNames = str | Annotated[list[str], Field(min_length=1)]
"""Name of an output; a list if each feature map has its own output."""


class DetectionDecoding(Contract):
    """Decoding of the outputs of a detector to boxes and scores.

    Three kinds of detection head are supported. A *grid* head (FastestDet, YOLO before decoding) gives values
    per cell of a feature map; an *anchors* head (SSD) gives offsets from prior boxes; a *direct* head (YOLOv5, YOLOv8,
    DETR, SSD after decoding) gives the boxes themselves. With f the respective activation, raw values are decoded as

        centre = reference + (f(raw) · variances[0] + center_shift) · unit
        size   = size_factor · f(raw · variances[1]) ^ size_power · unit

    where reference and unit are the top left corner and the sides of the cell, the centre and the sides of the
    anchor, or the top left corner and the sides of the image.

    A request gives `head` and `boxes` and what else differs from the defaults; or a `preset`, and what differs from it;
    or neither, if the preset is beyond doubt from the outputs. The stored description has every field resolved.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    preset: DetectionPreset | None = Field(default=None, examples=["yolov8"])
    """Well-known head whose description gives the fields that the request does not."""
    head: Literal["grid", "anchors", "direct"] | None = Field(default=None, examples=["grid"])
    """Kind of head: boxes are relative to the cell, to the anchor, or to the image."""
    boxes: OutputNames | None = Field(default=None, examples=["758"])
    """Name of the output with the four box values; a list if each feature map has its own output."""
    centers: OutputNames | None = Field(default=None, examples=["reg"])
    """For models whose two centre values and two size values are apart (CenterNet): name of the output with the centre
    values; `boxes` then has the sizes."""
    scores: OutputNames | None = Field(default=None, examples=["scores"])
    """Name of the output with the class scores, as many names as in `boxes`; by default the outputs in `boxes`."""
    classes: str | None = Field(default=None, examples=["labels"])
    """For models that output one class index per box: name of that output. `scores` or the objectness then has one
    value per box."""
    objectness: OutputNames | None = Field(default=None, examples=["objectness"])
    """For models whose objectness is an output of its own: name of that output, as many names as in `boxes`."""
    count: str | None = Field(default=None, examples=["num_detections"])
    """For models that suppress boxes themselves: name of the output with the number of boxes of each image."""
    size_inputs: dict[str, Literal["width_height", "height_width", "one"]] | None = Field(
        default=None, examples=[{"orig_target_sizes": "width_height"}]
    )
    """For models that take the size of an image beside the image (RT-DETR): what each of these inputs, [N, 2], is given
    so that boxes are in pixels of the model input: both sides of the input, or a scale of one."""
    layout: Literal["channels_first", "channels_last"] = "channels_first"
    """Axis of the values of a candidate: axis 1 ([N, values, …cells]) or the last axis ([N, …cells, values])."""
    anchors_per_cell: int = Field(default=1, ge=1)
    """Candidates per cell; the values axis is split into that many equal, consecutive parts. With `channels_last`, an
    output [N, anchors, rows, columns, values] is also accepted."""
    strides: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] | None = Field(
        default=None, examples=[[8, 16, 32]]
    )
    """For a grid head whose feature maps are concatenated along one cell axis: stride of each map in input pixels."""
    box_offset: int = Field(default=0, ge=0)
    """Position of the first of the four box values along the values axis."""
    objectness_offset: int | None = Field(default=None, ge=0, examples=[0])
    """Position of the objectness in the `boxes` output, or in the output named by `objectness`; null if there is
    none."""
    class_offset: int | None = Field(default=0, ge=0)
    """Position of the first class score; null if there are none, so that the objectness is the score."""
    class_count: int | None = Field(default=None, ge=1, examples=[80])
    """Number of class scores, including background; by default up to the end of the axis."""
    class_index_offset: int | None = Field(default=None, ge=0, examples=[5])
    """For models that output one class index per box (YOLOv10): its position in the `boxes` output."""
    box_format: Literal["center_size", "corners", "distances"] = "center_size"
    """Centre and size (x, y, width, height); for a direct head also corners (left, top, right, bottom); for a grid head
    also distances (left, top, right, bottom) from the point reference + center_shift · unit, each decoded as a size."""
    bins: int | None = Field(default=None, ge=2, le=256, examples=[16])
    """For distances given as a distribution (distribution focal loss): number of bins of each of the four sides. A
    distance is the mean of the bins' numbers, weighted by the softmax of their values."""
    coordinate_order: Literal["xy", "yx"] = "xy"
    """Order of the four values: x before y (and left before top), or y before x as in TensorFlow."""
    box_units: Literal["pixels", "normalized"] = "normalized"
    """For a direct head: unit of the values, pixels of the model input or fractions of it."""
    center_activation: Activation = Activation.NONE
    """Activation of the centre values."""
    center_shift: float = Field(default=0.0, examples=[-0.5])
    """Added to the activated centre values (YOLOv5 before decoding: -0.5; the middle of a cell: 0.5)."""
    size_activation: Activation = Activation.NONE
    """Activation of the size values."""
    size_factor: float = Field(default=1.0, gt=0, examples=[4.0])
    """Factor on the activated size values (YOLOv5 before decoding: 4)."""
    size_power: float = Field(default=1.0, gt=0, examples=[2.0])
    """Exponent of the activated size values (YOLOv5 before decoding: 2)."""
    size_unit: Literal["image", "cell", "anchor"] = "image"
    """For a grid head: unit of sizes. For an anchors head it is always the anchor."""
    anchors: list[list[float]] | None = Field(default=None, examples=[[[0.1, 0.13], [0.16, 0.3]]])
    """Anchors as fractions of the input. Grid head: [width, height] of each anchor of a cell, for each feature map.
    Anchors head: [cx, cy, width, height] of each candidate in the order of the outputs."""
    anchor_grid: AnchorGrid | None = None
    """For an anchors head: how anchors are generated, in place of `anchors`."""
    variances: list[float] = Field(default=[1.0, 1.0], min_length=2, max_length=2, examples=[[0.1, 0.2]])
    """Factors on the centre values and on the size values (SSD: 0.1 and 0.2)."""
    objectness_activation: Activation = Activation.NONE
    """Activation of the objectness."""
    class_activation: Activation = Activation.NONE
    """Activation of the class scores."""
    objectness_power: float = Field(default=1.0, gt=0)
    """Exponent of the objectness: score = objectness^objectness_power · class^class_power."""
    class_power: float = Field(default=1.0, gt=0)
    """Exponent of the class score, see `objectness_power`."""
    background_class: int | None = Field(default=None, ge=0, examples=[0])
    """Index of the background class; it is dropped and not counted in `labels`."""
    peak_window: int | None = Field(default=None, ge=3, le=31, examples=[3])
    """For a grid head with one candidate per cell: only class scores that are the highest among this number of rows
    and columns of cells around count (CenterNet: 3). An odd number."""
    masks: MaskDecoding | None = None
    """For models with instance masks: where they are."""
    keypoints: KeypointDecoding | None = None
    """For models with key points: where they are."""
    multi_label: bool = False
    """Whether each class of a candidate above the threshold gives a box (usual for SSD), or only its best class."""
    score_threshold: float = Field(default=0.3, ge=0, le=1)
    """Boxes with a lower score are dropped."""
    iou_threshold: float = Field(default=0.45, gt=0, le=1)
    """Non-maximum suppression: of two boxes of one class with a higher IoU than this, the one with the lower score is
    dropped."""
    class_agnostic: bool = False
    """Whether boxes of different classes suppress each other."""
    max_detections: int = Field(default=100, ge=1, le=1000)
    """Maximum number of boxes per image."""

    @property
    def is_resolved(self) -> bool:
        """Whether it names the head and its boxes, so that outputs can be decoded."""
        return self.head is not None and self.boxes is not None

    @property
    def box_outputs(self) -> list[str]:
        """Names of the outputs with box values, one per feature map."""
        return _names(self.boxes)

    @property
    def score_outputs(self) -> list[str]:
        """Names of the outputs with class scores, one for each of `box_outputs`."""
        return self.box_outputs if self.scores is None else _names(self.scores)

    @property
    def output_names(self) -> list[str]:
        """Names of all outputs that decoding needs, each once."""
        apart = [*_names(self.centers), *_names(self.objectness), *_names(self.classes), *_names(self.count)]
        prototypes = [self.masks.prototypes] if self.masks else []
        return list(dict.fromkeys([*self.box_outputs, *self.score_outputs, *apart, *prototypes]))

    @property
    def class_is_chosen(self) -> bool:
        """Whether the model outputs one class index per box instead of class scores."""
        return self.classes is not None or self.class_index_offset is not None

    @property
    def box_values(self) -> int:
        """Number of values from `box_offset` on that describe a box in the `boxes` output."""
        return 2 if self.centers is not None else 4 * (self.bins or 1)

    @model_validator(mode="after")
    def _fits_together(self) -> "DetectionDecoding":
        if self.preset is None:
            for _, problem in self.contradictions():
                raise ValueError(problem)
        return self

    def contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield which fields contradict each other, and how; nothing as long as it is not resolved."""
        if not self.is_resolved:
            return
        levels = len(self.box_outputs)
        for field in ("scores", "centers", "objectness"):
            count = len(_names(getattr(self, field)))
            if count not in (0, levels):
                yield (field, "boxes"), f"{field} names {count} outputs, but boxes names {levels}; give one for each"
        listed = self.head == "anchors" and self.anchor_grid is None
        if levels > 1 and (self.head == "direct" or self.strides or self.classes or listed):
            yield (
                ("strides", "classes", "boxes", "head"),
                "several outputs in boxes are for a grid head without strides and without classes",
            )
        if self.strides and (self.head != "grid" or self.anchors_per_cell > 1):
            yield ("strides", "anchors_per_cell", "head"), "strides are for a grid head with one candidate per cell"
        if self.head == "direct" and (self.anchors_per_cell > 1 or self.anchors or self.anchor_grid):
            yield (
                ("anchors_per_cell", "anchors", "anchor_grid", "head"),
                "a direct head has neither anchors nor anchors_per_cell",
            )
        yield from self._format_contradictions()
        yield from self._anchor_contradictions(levels)
        yield from self._score_contradictions()

    def _format_contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.box_format == "corners" and self.head != "direct":
            yield ("box_format", "head"), "box_format corners is for a direct head"
        if self.box_format == "distances" and self.head != "grid":
            yield ("box_format", "head"), "box_format distances is for a grid head"
        if self.bins and self.box_format != "distances":
            yield ("bins", "box_format"), "bins are for box_format distances"
        if self.centers is not None and (self.box_format != "center_size" or self.masks or self.keypoints):
            yield ("centers", "box_format"), "an output for centers is for box_format center_size"
        if self.peak_window is not None and (
            self.head != "grid" or self.strides or self.anchors_per_cell > 1 or self.peak_window % 2 == 0
        ):
            yield (
                ("peak_window", "head", "strides", "anchors_per_cell"),
                "peak_window is an odd number, for a grid head without strides and with one candidate per cell",
            )
        for name in ("center_activation", "size_activation", "objectness_activation"):
            if getattr(self, name) is Activation.SOFTMAX:
                yield (name,), f"{name} cannot be softmax, which is over classes"

    def _anchor_contradictions(self, levels: int) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.head == "anchors":
            if self.anchor_grid is not None:
                if self.anchors:
                    yield ("anchors", "anchor_grid"), "anchors are listed or generated (anchor_grid), not both"
                problem = self.anchor_grid.problem()
                if problem is not None:
                    yield ("anchor_grid",), problem
                if levels > 1 and levels != len(self.anchor_grid.strides):
                    maps = len(self.anchor_grid.strides)
                    yield ("boxes", "anchor_grid"), f"boxes names {levels} outputs, but anchor_grid has {maps} strides"
            elif not self.anchors or any(len(anchor) != 4 for anchor in self.anchors):
                yield (
                    ("anchors", "head"),
                    "an anchors head needs anchors, each [cx, cy, width, height] as fractions of the input, or an "
                    "anchor_grid",
                )
            return
        if self.anchor_grid is not None:
            yield ("anchor_grid", "head"), "an anchor_grid is for an anchors head"
        if self.head == "grid" and self.size_unit == "anchor":
            maps = len(self.strides) if self.strides else levels
            if not self.anchors or len(self.anchors) != maps * self.anchors_per_cell:
                count = maps * self.anchors_per_cell
                yield (
                    ("anchors", "anchors_per_cell", "size_unit"),
                    f"size_unit anchor needs {count} anchors: one per cell and feature map",
                )
            elif any(len(anchor) != 2 for anchor in self.anchors):
                yield ("anchors",), "anchors of a grid head are [width, height] as fractions of the input"
        elif self.anchors:
            yield ("anchors", "size_unit"), "anchors of a grid head are used only if size_unit is anchor"

    def _score_contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        if self.classes is not None and self.class_index_offset is not None:
            yield (
                ("class_index_offset", "classes"),
                "the class index is either in the output named by classes or at class_index_offset, not in both",
            )
        if self.class_is_chosen and self.class_offset is not None and self.scores is None:
            yield (
                ("class_offset", "scores", "classes", "class_index_offset"),
                "a model that outputs class indices needs scores or, with class_offset null, objectness_offset",
            )
        if self.class_offset is None and self.objectness_offset is None and self.objectness is None:
            yield (
                ("class_offset", "objectness_offset"),
                "with class_offset null the score is the objectness, so objectness_offset is needed",
            )
        if self.class_count is not None and (self.background_class or 0) >= self.class_count:
            yield (
                ("background_class", "class_count"),
                f"background_class {self.background_class} is not one of the {self.class_count} classes",
            )


def _names(value: str | list[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)

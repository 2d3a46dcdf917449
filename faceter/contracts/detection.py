"""Decoding of the raw outputs of a detector to boxes."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from faceter.contracts.base import Contract


class Activation(StrEnum):
    """Activation function applied to raw outputs during decoding."""

    NONE = "none"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    EXP = "exp"
    SOFTMAX = "softmax"


class DetectionDecoding(Contract):
    """Decoding of the outputs of a detector to boxes and scores.

    Three kinds of detection head are supported. A *grid* head (FastestDet, YOLO before decoding) gives values
    per cell of a feature map; an *anchors* head (SSD) gives offsets from prior boxes; a *direct* head (YOLOv5, YOLOv8,
    DETR, SSD after decoding) gives the boxes themselves. With f the respective activation, raw values are decoded as

        centre = reference + (f(raw) · variances[0] + center_shift) · unit
        size   = size_factor · f(raw · variances[1]) ^ size_power · unit

    where reference and unit are the top left corner and the sides of the cell, the centre and the sides of the
    anchor, or the top left corner and the sides of the image.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    head: Literal["grid", "anchors", "direct"] = Field(examples=["grid"])
    """Kind of head: boxes are relative to the cell, to the anchor, or to the image."""
    boxes: str | Annotated[list[str], Field(min_length=1)] = Field(examples=["758"])
    """Name of the output with the four box values; a list if each feature map has its own output."""
    scores: str | Annotated[list[str], Field(min_length=1)] | None = Field(default=None, examples=["scores"])
    """Name of the output with the class scores, as many names as in `boxes`; by default the outputs in `boxes`."""
    classes: str | None = Field(default=None, examples=["labels"])
    """For models that output one class index per box: name of that output. `scores` or the objectness then has one
    value per box."""
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
    """Position of the objectness in the `boxes` output; null if there is none."""
    class_offset: int | None = Field(default=0, ge=0)
    """Position of the first class score; null if there are none, so that the objectness is the score."""
    class_count: int | None = Field(default=None, ge=1, examples=[80])
    """Number of class scores, including background; by default up to the end of the axis."""
    class_index_offset: int | None = Field(default=None, ge=0, examples=[5])
    """For models that output one class index per box (YOLOv10): its position in the `boxes` output."""
    box_format: Literal["center_size", "corners", "distances"] = "center_size"
    """Centre and size (x, y, width, height); for a direct head also corners (left, top, right, bottom); for a grid head
    also distances (left, top, right, bottom) from the point reference + center_shift · unit, each decoded as a size."""
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
    def box_outputs(self) -> list[str]:
        """Names of the outputs with box values, one per feature map."""
        return [self.boxes] if isinstance(self.boxes, str) else list(self.boxes)

    @property
    def score_outputs(self) -> list[str]:
        """Names of the outputs with class scores, one for each of `box_outputs`."""
        if self.scores is None:
            return self.box_outputs
        return [self.scores] if isinstance(self.scores, str) else list(self.scores)

    @property
    def class_is_chosen(self) -> bool:
        """Whether the model outputs one class index per box instead of class scores."""
        return self.classes is not None or self.class_index_offset is not None

    @model_validator(mode="after")
    def _fits_together(self) -> "DetectionDecoding":
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        levels = len(self.box_outputs)
        if len(self.score_outputs) != levels:
            yield f"scores names {len(self.score_outputs)} outputs, but boxes names {levels}; give one for each"
        if levels > 1 and (self.head != "grid" or self.strides or self.classes):
            yield "several outputs in boxes are for a grid head without strides and without classes"
        if self.strides and (self.head != "grid" or self.anchors_per_cell > 1):
            yield "strides are for a grid head with one candidate per cell"
        if self.head == "direct" and (self.anchors_per_cell > 1 or self.anchors):
            yield "a direct head has neither anchors nor anchors_per_cell"
        yield from self._format_contradictions()
        yield from self._anchor_contradictions(levels)
        yield from self._score_contradictions()

    def _format_contradictions(self) -> Iterator[str]:
        if self.box_format == "corners" and self.head != "direct":
            yield "box_format corners is for a direct head"
        if self.box_format == "distances" and self.head != "grid":
            yield "box_format distances is for a grid head"
        for name in ("center_activation", "size_activation", "objectness_activation"):
            if getattr(self, name) is Activation.SOFTMAX:
                yield f"{name} cannot be softmax, which is over classes"

    def _anchor_contradictions(self, levels: int) -> Iterator[str]:
        if self.head == "anchors":
            if not self.anchors or any(len(anchor) != 4 for anchor in self.anchors):
                yield "an anchors head needs anchors, each [cx, cy, width, height] as fractions of the input"
        elif self.head == "grid" and self.size_unit == "anchor":
            maps = len(self.strides) if self.strides else levels
            if not self.anchors or len(self.anchors) != maps * self.anchors_per_cell:
                yield f"size_unit anchor needs {maps * self.anchors_per_cell} anchors: one per cell and feature map"
            elif any(len(anchor) != 2 for anchor in self.anchors):
                yield "anchors of a grid head are [width, height] as fractions of the input"
        elif self.anchors:
            yield "anchors of a grid head are used only if size_unit is anchor"

    def _score_contradictions(self) -> Iterator[str]:
        if self.classes is not None and self.class_index_offset is not None:
            yield "the class index is either in the output named by classes or at class_index_offset, not in both"
        if self.class_is_chosen and self.class_offset is not None and self.scores is None:
            yield "a model that outputs class indices needs scores or, with class_offset null, objectness_offset"
        if self.class_offset is None and self.objectness_offset is None:
            yield "with class_offset null the score is the objectness, so objectness_offset is needed"
        if self.class_count is not None and (self.background_class or 0) >= self.class_count:
            yield f"background_class {self.background_class} is not one of the {self.class_count} classes"

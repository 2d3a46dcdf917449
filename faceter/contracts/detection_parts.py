"""Parts of the decoding of a detector: presets, generated anchors, masks and key points."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from faceter.contracts.base import Contract


class Activation(StrEnum):
    """Activation function applied to raw outputs during decoding."""

    NONE = "none"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    EXP = "exp"
    SOFTMAX = "softmax"


class DetectionPreset(StrEnum):
    """Detection head of a well-known network, as its usual exports have it."""

    YOLOV5 = "yolov5"
    YOLOV8 = "yolov8"
    YOLOV8_SEG = "yolov8-seg"
    YOLOV8_POSE = "yolov8-pose"
    YOLOV10 = "yolov10"
    YOLO11 = "yolo11"
    YOLOX = "yolox"
    YOLO_NAS = "yolo-nas"
    SSD = "ssd"
    RETINANET = "retinanet"
    DETR = "detr"
    RT_DETR = "rt-detr"
    CENTERNET = "centernet"
    FASTESTDET = "fastestdet"
    DFL = "dfl"


Positive = Annotated[float, Field(gt=0)]


class AnchorGrid(Contract):
    """Anchors of an anchors head that are generated: some boxes at every cell of every feature map.

    They are in the order of the feature maps, then of the cells (row by row), then of the boxes of a cell. The defaults
    are those of torchvision's RetinaNet.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    strides: Annotated[list[Positive], Field(min_length=1, max_length=16)] = Field(default=[8, 16, 32, 64, 128])
    """Distance of cells in pixels of the input, for each feature map."""
    sizes: Annotated[
        list[Annotated[list[Positive], Field(min_length=1, max_length=16)]], Field(min_length=1, max_length=16)
    ] = Field(default=[[32, 40, 50], [64, 80, 101], [128, 161, 203], [256, 322, 406], [512, 645, 812]])
    """Sides of the square boxes in pixels of the input, for each feature map; with the arrangement `ssd` the size of
    the map and that of the next."""
    ratios: Annotated[list[Annotated[list[Positive], Field(max_length=16)]], Field(min_length=1, max_length=16)] = (
        Field(default=[[0.5, 1.0, 2.0]])
    )
    """Ratios of height to width, for each feature map, or one list for all."""
    arrangement: Literal["all", "ssd"] = "all"
    """Boxes of a cell. `all`: each ratio with each size, the first ratio first. `ssd`: the square of the first size,
    that of the geometric mean of both sizes, and then for each ratio a wide and a tall box of the first size."""
    offset: float = 0.0
    """Centre of the boxes in a cell, in cells from its left top corner."""
    rounded: bool = False
    """Whether the corners of boxes are rounded to whole pixels, as torchvision does for RetinaNet."""
    clipped: bool = False
    """Whether boxes have at most the sides of the input (SSD)."""

    def problem(self) -> str | None:
        """Return how its fields contradict each other; None if they do not."""
        maps = len(self.strides)
        if len(self.sizes) != maps:
            return f"anchor_grid has sizes of {len(self.sizes)} feature maps, but strides of {maps}"
        if len(self.ratios) not in (1, maps):
            return f"anchor_grid has ratios of {len(self.ratios)} feature maps, but strides of {maps}"
        if self.arrangement == "ssd" and any(len(sizes) != 2 for sizes in self.sizes):
            return "with the arrangement ssd each feature map of anchor_grid has two sizes: its own and the next"
        return None

    @property
    def per_cell(self) -> list[int]:
        """Number of boxes of a cell, for each feature map."""
        ratios = self.ratios * len(self.sizes) if len(self.ratios) == 1 else self.ratios
        if self.arrangement == "ssd":
            return [2 + 2 * len(some) for some in ratios]
        return [len(some) * len(sizes) for some, sizes in zip(ratios, self.sizes, strict=True)]


class MaskDecoding(Contract):
    """Instance masks of a detector: each box has coefficients, by which prototype masks are added up (YOLACT).

    A pixel belongs to the object if the sum is above 0 and the pixel lies in the box.
    """

    prototypes: str = Field(examples=["output1"])
    """Name of the output with the prototypes, [N, count, rows, columns]."""
    offset: int = Field(ge=0, examples=[84])
    """Position of the first coefficient in the `boxes` output."""
    count: int = Field(default=32, ge=1, le=1024)
    """Number of prototypes."""


class KeypointDecoding(Contract):
    """Key points of a detector: for each box, points in pixels of the input."""

    offset: int = Field(ge=0, examples=[5])
    """Position of the first value in the `boxes` output."""
    count: int = Field(default=17, ge=1, le=1024)
    """Number of key points."""
    values: Literal[2, 3] = 3
    """Values of a key point: x and y, or x, y and visibility (0 to 1)."""

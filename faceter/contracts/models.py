"""Models: what a user says about one on upload, and what the service says back."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, Timestamp
from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationReport


class Task(StrEnum):
    """What a model is for; decides how `predict` reads its outputs."""

    IMAGE_CLASSIFICATION = "image_classification"
    OBJECT_DETECTION = "object_detection"
    IMAGE_TRANSLATION = "image_translation"
    TEXT_PAIR_CLASSIFICATION = "text_pair_classification"
    SIGNAL_CLASSIFICATION = "signal_classification"
    OTHER = "other"

    @property
    def classifies(self) -> bool:
        """Whether an answer is one class of several."""
        return self in (self.IMAGE_CLASSIFICATION, self.TEXT_PAIR_CLASSIFICATION, self.SIGNAL_CLASSIFICATION)


class ResizeRule(StrEnum):
    """How an image comes to the model's size."""

    STRETCH = "stretch"
    """Both sides scaled on their own."""
    CROP = "crop"
    """Scaled until it covers the size, then the centre cut out."""
    PAD = "pad"
    """Scaled until it fits, centred, the rest filled with `pad_value`."""


class ChannelOrder(StrEnum):
    """The order of the channels the model wants."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class Preprocessing(Contract):
    """How an image becomes the model's input: (pixel · scale − mean) / std, channels first."""

    model_config = ConfigDict(allow_inf_nan=False)

    input: str | None = Field(default=None, examples=["image"])
    """Name of the input that takes the image; the only one of rank 4 if not given."""
    size: Annotated[list[Annotated[int, Field(gt=0, le=16384)]], Field(min_length=2, max_length=2)] = Field(
        examples=[[32, 32]]
    )
    """Height and width in pixels."""
    resize: ResizeRule = ResizeRule.STRETCH
    """How an image comes to that size."""
    channel_order: ChannelOrder = ChannelOrder.RGB
    """Order of the channels."""
    scale: float = Field(default=1 / 255, gt=0, examples=[1 / 255])
    """Factor on pixel values 0 to 255."""
    mean: list[float] = Field(default=[0.0], min_length=1, max_length=3, examples=[[0.485, 0.456, 0.406]])
    """Subtracted after scaling; one value, or one per channel in the model's order."""
    std: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1.0], min_length=1, max_length=3, examples=[[0.229, 0.224, 0.225]]
    )
    """Divided by after subtracting; one value, or one per channel in the model's order."""
    pad_value: int = Field(default=114, ge=0, le=255)
    """Pixel value of the margin when `resize` is `pad`."""

    @property
    def channels(self) -> int:
        """Number of channels of the input."""
        return 1 if self.channel_order is ChannelOrder.GRAY else 3

    @model_validator(mode="after")
    def _lengths_fit(self) -> "Preprocessing":
        for name in ("mean", "std"):
            length = len(getattr(self, name))
            if length not in (1, self.channels):
                raise ValueError(f"{name} has {length} values, but {self.channel_order} takes 1 or {self.channels}")
        return self


class Activation(StrEnum):
    """A function applied to raw outputs while they are decoded."""

    NONE = "none"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    EXP = "exp"
    SOFTMAX = "softmax"


class DetectionDecoding(Contract):
    """How the outputs of a detector become boxes and scores.

    One description covers the usual shapes of head. A *grid* head (FastestDet, YOLO before decoding) gives values
    per cell of a feature map; an *anchors* head (SSD) gives offsets from prior boxes; a *direct* head (YOLOv5, YOLOv8,
    DETR, SSD after decoding) gives the boxes themselves. With f the activation of each, values go through

        centre = reference + (f(raw) · variances[0] + center_shift) · unit
        size   = size_factor · f(raw · variances[1]) ^ size_power · unit

    where reference and unit are those of the cell (its left top corner and its sides), of the anchor (its centre and
    its sides) or of the image (its left top corner and its sides).
    """

    model_config = ConfigDict(allow_inf_nan=False)

    head: Literal["grid", "anchors", "direct"] = Field(examples=["grid"])
    """Where the boxes are measured from: the cell, the anchor, or the image."""
    boxes: str | Annotated[list[str], Field(min_length=1)] = Field(examples=["758"])
    """Name of the output that holds the four box values; several where each feature map has an output of its own."""
    scores: str | Annotated[list[str], Field(min_length=1)] | None = Field(default=None, examples=["scores"])
    """Name of the output that holds the class scores, as many as `boxes`; those of `boxes` if not given."""
    classes: str | None = Field(default=None, examples=["labels"])
    """Name of the output that holds the class number of each box, for models that have already chosen it; `scores` or
    the objectness then holds one value per box."""
    layout: Literal["channels_first", "channels_last"] = "channels_first"
    """Whether one candidate's values lie on axis 1 ([N, values, …cells]) or on the last ([N, …cells, values])."""
    anchors_per_cell: int = Field(default=1, ge=1)
    """Candidates per cell; the values axis is split into that many equal parts, one after the other. An output
    [N, anchors, rows, columns, values] is taken as well with `channels_last`."""
    strides: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)] | None = Field(
        default=None, examples=[[8, 16, 32]]
    )
    """For a grid head whose feature maps are joined on one axis of cells: input pixels per cell of each, in order."""
    box_offset: int = Field(default=0, ge=0)
    """Position of the first of the four box values along the values axis."""
    objectness_offset: int | None = Field(default=None, ge=0, examples=[0])
    """Position of the objectness value in the `boxes` output, if there is one."""
    class_offset: int | None = Field(default=0, ge=0)
    """Position of the first class score; null where there are none and the objectness alone is the score."""
    class_count: int | None = Field(default=None, ge=1, examples=[80])
    """How many class scores there are, background included; up to the end of the axis if not given."""
    class_index_offset: int | None = Field(default=None, ge=0, examples=[5])
    """Position of the class number in the `boxes` output, for models that have already chosen it (YOLOv10)."""
    box_format: Literal["center_size", "corners", "distances"] = "center_size"
    """Centre and size (x, y, width, height); for a direct head also corners (left, top, right, bottom); for a grid head
    also distances (left, top, right, bottom) from the point reference + center_shift · unit, each read as a size."""
    coordinate_order: Literal["xy", "yx"] = "xy"
    """Whether x comes before y in the four values (and left before top), or y before x, as TensorFlow has it."""
    box_units: Literal["pixels", "normalized"] = "normalized"
    """For a direct head: pixels of the model's input, or fractions of it."""
    center_activation: Activation = Activation.NONE
    """Applied to the centre values."""
    center_shift: float = Field(default=0.0, examples=[-0.5])
    """Added to the activated centre values (YOLOv5 before decoding: -0.5; the middle of a cell: 0.5)."""
    size_activation: Activation = Activation.NONE
    """Applied to the size values."""
    size_factor: float = Field(default=1.0, gt=0, examples=[4.0])
    """Factor on the activated size values (YOLOv5 before decoding: 4)."""
    size_power: float = Field(default=1.0, gt=0, examples=[2.0])
    """Power the activated size values are raised to (YOLOv5 before decoding: 2)."""
    size_unit: Literal["image", "cell", "anchor"] = "image"
    """For a grid head: what a size of 1 means. For an anchors head it is always the anchor."""
    anchors: list[list[float]] | None = Field(default=None, examples=[[[0.1, 0.13], [0.16, 0.3]]])
    """As fractions of the input. Grid head: [width, height] of each anchor of a cell, feature map after feature map.
    Anchors head: [cx, cy, width, height] of each candidate in the order of the outputs."""
    variances: list[float] = Field(default=[1.0, 1.0], min_length=2, max_length=2, examples=[[0.1, 0.2]])
    """Factors on the centre and the size values before they are used (SSD: 0.1 and 0.2)."""
    objectness_activation: Activation = Activation.NONE
    """Applied to the objectness."""
    class_activation: Activation = Activation.NONE
    """Applied to the class scores."""
    objectness_power: float = Field(default=1.0, gt=0)
    """score = objectness^objectness_power · class^class_power."""
    class_power: float = Field(default=1.0, gt=0)
    """See `objectness_power`."""
    background_class: int | None = Field(default=None, ge=0, examples=[0])
    """Index of the class that means nothing is there; dropped, and not counted in `labels`."""
    multi_label: bool = False
    """Whether every class of a candidate over the threshold makes a box (usual for SSD), or only its best class."""
    score_threshold: float = Field(default=0.3, ge=0, le=1)
    """Boxes with a lower score are not answered."""
    iou_threshold: float = Field(default=0.45, gt=0, le=1)
    """Of two boxes of one class that overlap more than this, the weaker one is dropped."""
    class_agnostic: bool = False
    """Whether boxes of different classes suppress each other too."""
    max_detections: int = Field(default=100, ge=1, le=1000)
    """Most boxes answered for an image."""

    @property
    def box_outputs(self) -> list[str]:
        """Names of the outputs that hold box values, feature map after feature map."""
        return [self.boxes] if isinstance(self.boxes, str) else list(self.boxes)

    @property
    def score_outputs(self) -> list[str]:
        """Names of the outputs that hold class scores, one for each of `box_outputs`."""
        if self.scores is None:
            return self.box_outputs
        return [self.scores] if isinstance(self.scores, str) else list(self.scores)

    @property
    def class_is_chosen(self) -> bool:
        """Whether the model answers class numbers, not a score for each class."""
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
            yield "the class number is either in the output named by classes or at class_index_offset, not in both"
        if self.class_is_chosen and self.class_offset is not None and self.scores is None:
            yield "a model that answers class numbers needs scores or, with class_offset null, objectness_offset"
        if self.class_offset is None and self.objectness_offset is None:
            yield "with class_offset null the score is the objectness, so objectness_offset is needed"
        if self.class_count is not None and (self.background_class or 0) >= self.class_count:
            yield f"background_class {self.background_class} is not one of the {self.class_count} classes"


class ModelMetadata(Contract):
    """What a user says about a model on upload."""

    task: Task = Task.OTHER
    """What the model is for."""
    preprocessing: Preprocessing | None = None
    """How an image becomes its input; needed to predict from image files."""
    labels: list[str] | None = Field(default=None, min_length=1, examples=[["cat", "dog"]])
    """Names of the classes, in the order of the output."""
    output: str | None = Field(default=None, examples=["logits"])
    """Name of the output that holds the class scores; the first one if not given."""
    detection: DetectionDecoding | None = None
    """How a detector's outputs become boxes; without it `predict` answers the raw outputs."""


class TensorSpec(Contract):
    """An input or output of a graph."""

    name: str = Field(examples=["image"])
    """Its name."""
    dtype: str = Field(examples=["float32"])
    """Element type, by numpy's name."""
    shape: list[int | str | None] = Field(examples=[["batch", 3, 32, 32]])
    """Sizes; a string names a size that may vary, null is one nobody named."""


class Model(Contract):
    """A model the service keeps."""

    id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["resnet20"])
    """The name it was given."""
    created_at: Timestamp
    """When it was added."""
    sha256: Sha256
    """SHA-256 of the ONNX file; equal files are stored once."""
    bytes: int = Field(examples=[1104293])
    """Size of the ONNX file."""
    metadata: ModelMetadata
    """What was said about it."""
    inputs: list[TensorSpec]
    """What it takes."""
    outputs: list[TensorSpec]
    """What it gives."""
    opset: int = Field(examples=[20])
    """Version of the standard operator set."""
    parameters: int = Field(examples=[272474])
    """Number of trained values."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model it was made from."""
    quantization: QuantizationReport | None = None
    """For a quantized model: how it was made, and what it lost."""
    provenance: Provenance | None = None
    """For a model that was made here: everything needed to make it again."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files that belong to it, by name, such as `curves.png`; `…/files/{name}` downloads one."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"content": "/v1/models/mdl_…/content"}])
    """Where to go from here."""


class QuantizationSummary(Contract):
    """How a quantized model was made, in short."""

    method: QuantizationMethod
    """How it was quantized."""
    weight_bits: int = Field(examples=[4])
    """Bits of its weights; the most that one has where they differ."""
    mixed: bool = False
    """Whether each weight has bits of its own, chosen for a target."""
    activation_bits: int = Field(examples=[4])
    """Bits of its activations."""
    weight_granularity: Granularity
    """One scale per weight tensor, or one per output channel."""


class ModelSummary(Contract):
    """A model as lists show it; `links.self` leads to all of it."""

    id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["resnet20"])
    """The name it was given."""
    created_at: Timestamp
    """When it was added."""
    sha256: Sha256
    """SHA-256 of the ONNX file."""
    bytes: int = Field(examples=[1104293])
    """Size of the ONNX file."""
    task: Task
    """What it is for."""
    parameters: int = Field(examples=[272474])
    """Number of trained values."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model it was made from."""
    quantization: QuantizationSummary | None = None
    """For a quantized model: how it was made, in short."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""

"""Models: what a user says about one on upload, and what the service says back."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from faceter.contracts.base import Contract, Provenance, Sha256, Timestamp
from faceter.contracts.quantizations import QuantizationReport


class Task(StrEnum):
    """What a model is for; decides how `predict` reads its outputs."""

    IMAGE_CLASSIFICATION = "image-classification"
    OBJECT_DETECTION = "object-detection"
    IMAGE_TRANSLATION = "image-translation"
    TEXT_PAIR_CLASSIFICATION = "text-pair-classification"
    SIGNAL_CLASSIFICATION = "signal-classification"
    OTHER = "other"


class ResizeRule(StrEnum):
    """How a picture comes to the model's size."""

    STRETCH = "stretch"
    """Both sides scaled on their own."""
    CROP = "crop"
    """Scaled until it covers the size, then the centre cut out."""
    PAD = "pad"
    """Scaled until it fits, centred, the rest filled with `pad_value`."""


class ChannelOrder(StrEnum):
    """The order of the channels the model wants."""

    RGB = "RGB"
    BGR = "BGR"
    GRAY = "GRAY"


class Preprocessing(Contract):
    """How a picture becomes the model's input: (pixel · scale − mean) / std, channels first."""

    input: str | None = Field(default=None, examples=["image"])
    """Name of the input that takes the picture; the only one of rank 4 if not given."""
    size: Annotated[list[Annotated[int, Field(gt=0, le=16384)]], Field(min_length=2, max_length=2)] = Field(
        examples=[[32, 32]]
    )
    """Height and width in pixels."""
    resize: ResizeRule = ResizeRule.STRETCH
    """How a picture comes to that size."""
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

    One description covers the three usual shapes of head. A *grid* head (FastestDet, YOLO before decoding)
    gives values per cell of a feature map; an *anchor* head (SSD) gives offsets from prior boxes; a *direct* head
    (YOLOv5, YOLOv8, SSD after decoding) gives the boxes themselves. Coordinates go through
    ``centre = reference + activation(raw) · variance · unit`` and ``size = activation(raw · variance) · unit``,
    where reference and unit are those of the cell, of the anchor or of the picture.
    """

    head: Literal["grid", "anchors", "direct"] = Field(examples=["grid"])
    """Where the boxes are measured from: the cell, the anchor, or the picture."""
    boxes: str = Field(examples=["758"])
    """Name of the output that holds the four box values."""
    scores: str | None = Field(default=None, examples=["scores"])
    """Name of the output that holds the class scores; the same output as `boxes` if not given."""
    layout: Literal["channels_first", "channels_last"] = "channels_first"
    """Whether one candidate's values lie on axis 1 ([N, values, …cells]) or on the last ([N, …cells, values])."""
    anchors_per_cell: int = Field(default=1, ge=1)
    """Candidates per cell; the values axis of a grid head is split into that many equal parts."""
    box_offset: int = Field(default=0, ge=0)
    """Position of the first of the four box values along the values axis."""
    objectness_offset: int | None = Field(default=None, ge=0)
    """Position of the objectness value in the `boxes` output, if there is one."""
    class_offset: int = Field(default=0, ge=0)
    """Position of the first class score; the classes go on to the end of the axis."""
    box_format: Literal["center_size", "corners"] = "center_size"
    """(x, y, width, height) by the centre, or (left, top, right, bottom)."""
    box_units: Literal["pixels", "normalized"] = "normalized"
    """For a direct head: pixels of the model's input, or fractions of it."""
    center_activation: Activation = Activation.NONE
    """Applied to the centre values."""
    size_activation: Activation = Activation.NONE
    """Applied to the size values."""
    size_unit: Literal["picture", "cell", "anchor"] = "picture"
    """What a size of 1 means."""
    anchors: list[list[float]] | None = Field(default=None, examples=[[[0.1, 0.13], [0.16, 0.3]]])
    """As fractions of the input. Grid head: [width, height] of each. Anchor head: [cx, cy, width, height] of each."""
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
    background_class: int | None = Field(default=None, ge=0)
    """Index of the class that means nothing is there; dropped, and not counted in `labels`."""
    score_threshold: float = Field(default=0.3, ge=0, le=1)
    """Boxes with a lower score are not answered."""
    iou_threshold: float = Field(default=0.45, gt=0, le=1)
    """Of two boxes of one class that overlap more than this, the weaker one is dropped."""
    class_agnostic: bool = False
    """Whether boxes of different classes suppress each other too."""
    max_detections: int = Field(default=100, ge=1, le=1000)
    """Most boxes answered for a picture."""


class ModelMetadata(Contract):
    """What a user says about a model on upload."""

    task: Task = Task.OTHER
    """What the model is for."""
    preprocessing: Preprocessing | None = None
    """How a picture becomes its input; needed to predict from image files."""
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
    derived_from: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model it was made from."""
    quantization: QuantizationReport | None = None
    """For a quantized model: how it was made, and what it lost."""
    provenance: Provenance | None = None
    """For a model that was made here: everything needed to make it again."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"content": "/v1/models/mdl_…/content"}])
    """Where to go from here."""

"""Models: metadata of an upload, stored record, summary and filter."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, StoredRecord, Timestamp, name_contains
from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationReport


class Task(StrEnum):
    """Task of a model; determines how `predict` interprets its outputs."""

    IMAGE_CLASSIFICATION = "image_classification"
    OBJECT_DETECTION = "object_detection"
    IMAGE_TRANSLATION = "image_translation"
    TEXT_PAIR_CLASSIFICATION = "text_pair_classification"
    SIGNAL_CLASSIFICATION = "signal_classification"
    OTHER = "other"

    @property
    def classifies(self) -> bool:
        """Whether the output is one of several classes."""
        return self in (self.IMAGE_CLASSIFICATION, self.TEXT_PAIR_CLASSIFICATION, self.SIGNAL_CLASSIFICATION)


class ResizeRule(StrEnum):
    """How an image is resized to the input size of the model."""

    STRETCH = "stretch"
    """Scale both sides independently."""
    CROP = "crop"
    """Scale to cover the input size, keeping the aspect ratio, then crop the centre."""
    PAD = "pad"
    """Scale to fit, keeping the aspect ratio, centre, and fill the margin with `pad_value`."""


class ChannelOrder(StrEnum):
    """Channel order of the model input."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class Preprocessing(Contract):
    """Conversion of an image to the model input: (pixel · scale − mean) / std, channels first."""

    model_config = ConfigDict(allow_inf_nan=False)

    input: str | None = Field(default=None, examples=["image"])
    """Name of the image input; by default the only input of rank 4."""
    size: Annotated[list[Annotated[int, Field(gt=0, le=16384)]], Field(min_length=2, max_length=2)] = Field(
        examples=[[32, 32]]
    )
    """Height and width in pixels."""
    resize: ResizeRule = ResizeRule.STRETCH
    """How images are resized to this size."""
    channel_order: ChannelOrder = ChannelOrder.RGB
    """Channel order of the input."""
    scale: float = Field(default=1 / 255, gt=0, examples=[1 / 255])
    """Factor on pixel values from 0 to 255."""
    mean: list[float] = Field(default=[0.0], min_length=1, max_length=3, examples=[[0.485, 0.456, 0.406]])
    """Mean, subtracted after scaling; one value, or one per channel in `channel_order`."""
    std: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1.0], min_length=1, max_length=3, examples=[[0.229, 0.224, 0.225]]
    )
    """Standard deviation, divisor after subtracting the mean; one value, or one per channel in `channel_order`."""
    pad_value: int = Field(default=114, ge=0, le=255)
    """Pixel value of the margin if `resize` is `pad`."""

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


class ModelMetadata(Contract):
    """Metadata of a model, given on upload."""

    task: Task = Task.OTHER
    """Task of the model."""
    preprocessing: Preprocessing | None = None
    """Conversion of an image to the model input; required to predict from image files."""
    labels: list[str] | None = Field(default=None, min_length=1, examples=[["cat", "dog"]])
    """Names of the classes in the order of the output."""
    output: str | None = Field(default=None, examples=["logits"])
    """Name of the output with the class scores; by default the first output."""
    detection: DetectionDecoding | None = None
    """Decoding of a detector's outputs to boxes; without it `predict` returns the raw outputs."""


class TensorSpec(Contract):
    """Input or output of a graph."""

    name: str = Field(examples=["image"])
    """Name of the tensor."""
    dtype: str = Field(examples=["float32"])
    """Element type, as named by NumPy."""
    shape: list[int | str | None] = Field(examples=[["batch", 3, 32, 32]])
    """Size of each axis; a string is the name of a dynamic size, null an unnamed dynamic size."""


class Model(StoredRecord):
    """A stored model."""

    id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["resnet20"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of the ONNX file; equal files are stored once."""
    bytes: int = Field(examples=[1104293])
    """Size of the ONNX file in bytes."""
    metadata: ModelMetadata
    """Metadata given on upload."""
    inputs: list[TensorSpec]
    """Inputs of the graph."""
    outputs: list[TensorSpec]
    """Outputs of the graph."""
    opset: int = Field(examples=[20])
    """Version of the standard operator set."""
    parameters: int = Field(examples=[272474])
    """Number of trainable parameters."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model from which it was made."""
    quantization: QuantizationReport | None = None
    """For a quantized model: report of the quantization."""
    provenance: Provenance | None = None
    """For a model made by a job: everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files by name, such as `curves.png`; download one from `…/files/{name}`."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"content": "/v1/models/mdl_…/content"}])
    """URLs to GET."""
    actions: dict[str, str] = Field(default_factory=dict, examples=[{"predict": "/v1/models/mdl_…/predict"}])
    """URLs to POST to: `predict`, `quantize`, `explain`."""


class QuantizationSummary(Contract):
    """Summary of a quantization."""

    method: QuantizationMethod
    """Quantization method."""
    weight_bits: int = Field(examples=[4])
    """Bits of the weights; with mixed precision the largest number of bits."""
    mixed: bool = False
    """Whether bits were chosen for each weight to meet a target (mixed precision)."""
    activation_bits: int = Field(examples=[4])
    """Bits of the activations."""
    weight_granularity: Granularity
    """One scale per weight tensor, or one per output channel."""

    @classmethod
    def of(cls, report: QuantizationReport) -> Self:
        """Return the summary of a report."""
        settings, trade_off = report.settings, report.trade_off
        mixed_bits = [] if trade_off is None else trade_off.points[trade_off.chosen].bits.values()
        return cls(
            method=settings.method,
            weight_bits=max(mixed_bits, default=settings.weight_bits),
            mixed=trade_off is not None,
            activation_bits=settings.activation_bits,
            weight_granularity=settings.weight_granularity,
        )


class ModelSummary(Contract):
    """Model as an item of a list; `links.self` is the full record."""

    id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["resnet20"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of the ONNX file."""
    bytes: int = Field(examples=[1104293])
    """Size of the ONNX file in bytes."""
    task: Task
    """Task of the model."""
    parameters: int = Field(examples=[272474])
    """Number of trainable parameters."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model from which it was made."""
    quantization: QuantizationSummary | None = None
    """For a quantized model: summary of the quantization."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/models/mdl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the summary of a model."""
        return cls(
            id=model.id,
            name=model.name,
            created_at=model.created_at,
            sha256=model.sha256,
            bytes=model.bytes,
            task=model.metadata.task,
            parameters=model.parameters,
            derived_from_id=model.derived_from_id,
            quantization=None if model.quantization is None else QuantizationSummary.of(model.quantization),
        )


class ModelFilter(Contract):
    """Filter of the list of models."""

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["resnet"])
    """Only models whose name contains this text; case is ignored."""
    task: Task | None = None
    """Only models with this task."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only models made from this model."""
    quantized: bool | None = None
    """Only models quantized by this service (true), or only other models (false)."""

    def matches(self, model: Model) -> bool:
        """Return whether a model matches the filter."""
        return (
            name_contains(self.name, model.name)
            and (self.task is None or model.metadata.task is self.task)
            and (self.derived_from_id is None or model.derived_from_id == self.derived_from_id)
            and (self.quantized is None or (model.quantization is not None) is self.quantized)
        )

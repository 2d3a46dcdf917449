"""Models: metadata of an upload, stored record, summary and filter."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from pydantic import Field

from faceter.contracts.base import (
    ComposedText,
    Contract,
    Provenance,
    Sha256,
    StoredFile,
    StoredRecord,
    Timestamp,
    name_contains,
)
from faceter.contracts.detection import DetectionDecoding
from faceter.contracts.input_shapes import InputShapes
from faceter.contracts.preprocessing import Preprocessing
from faceter.contracts.quantizations import Granularity, QuantizationMethod, QuantizationReport
from faceter.contracts.serving import ServingReport, ServingSettings
from faceter.contracts.text import TextProcessing


class Task(StrEnum):
    """Task of a model; determines how `predict` interprets its outputs."""

    IMAGE_CLASSIFICATION = "image_classification"
    OBJECT_DETECTION = "object_detection"
    IMAGE_TRANSLATION = "image_translation"
    TEXT_CLASSIFICATION = "text_classification"
    TEXT_PAIR_CLASSIFICATION = "text_pair_classification"
    TEXT_EMBEDDING = "text_embedding"
    SIGNAL_CLASSIFICATION = "signal_classification"
    TEXT_RECOGNITION = "text_recognition"
    OTHER = "other"

    @property
    def classifies(self) -> bool:
        """Whether the output is one of several classes."""
        return self in (
            self.IMAGE_CLASSIFICATION,
            self.TEXT_CLASSIFICATION,
            self.TEXT_PAIR_CLASSIFICATION,
            self.SIGNAL_CLASSIFICATION,
        )


class ModelMetadata(Contract):
    """Metadata of a model, given on upload."""

    task: Task = Task.OTHER
    """Task of the model."""
    preprocessing: Preprocessing | None = None
    """Conversion of an image to the model input; required to predict from image files."""
    labels: list[ComposedText] | None = Field(default=None, min_length=1, examples=[["cat", "dog"]])
    """Names of the classes in the order of the output; of a text recognizer its characters, without the blank that
    comes first."""
    output: str | None = Field(default=None, examples=["logits"])
    """Name of the output with the class scores, or the embeddings; by default the first output."""
    detection: DetectionDecoding | None = None
    """Decoding of a detector's outputs to boxes; without it `predict` returns the raw outputs."""
    text: TextProcessing | None = None
    """Conversion of texts to the model inputs; only for a model uploaded with its `tokenizer`."""
    input_shapes: InputShapes | None = Field(default=None, examples=[{"x": [1, 100, 600]}])
    """Shapes to run the model at, by input, for sizes that the file leaves open; the batch size counts as 1. Jobs
    measure and tune at these shapes; the model stays open. By default the smallest sizes at which the model runs."""
    constant_inputs: dict[str, int | float | bool] | None = Field(default=None, examples=[{"sr": 16000}])
    """Values of inputs that never change, such as a sampling rate. Jobs work on the graph with these values."""
    serving: ServingSettings | None = None
    """How the model is served: precision, batches, instances."""


def shape_text(shape: Sequence[int | str | None]) -> str:
    """Return a shape as text, with ``?`` for an unnamed open size."""
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


class TensorSpec(Contract):
    """Input or output of a graph."""

    name: str = Field(examples=["image"])
    """Name of the tensor."""
    dtype: str = Field(examples=["float32"])
    """Element type, as named by NumPy; for a value that is no tensor `sequence(float32)`, `map(int64, float32)` or the
    like."""
    shape: list[int | str | None] = Field(examples=[["batch", 3, 32, 32]])
    """Size of each axis; a string is the name of a dynamic size, null an unnamed dynamic size."""


class MetadataSource(StrEnum):
    """Where a field of a model's metadata is from."""

    SAID = "said"
    """From the upload."""
    FILE = "file"
    """From what the uploaded file says of itself."""
    INFERRED = "inferred"
    """From shapes and operators of the graph, which leave no doubt."""


class ModelDescription(Contract):
    """What a model file is: what was understood of it, and what was found by running it."""

    name: str = Field(examples=["resnet20"])
    """Name."""
    metadata: ModelMetadata
    """Metadata as they are understood: those given on upload, and what the file and its graph say beyond doubt."""
    metadata_sources: dict[str, MetadataSource] = Field(
        default_factory=dict, examples=[{"task": "file", "labels": "file", "preprocessing.size": "inferred"}]
    )
    """Where fields of the metadata are from. A part, such as `preprocessing.size`, is listed if it is from elsewhere
    than the whole. Fields that are not listed have their defaults."""
    inputs: list[TensorSpec]
    """Inputs of the graph."""
    outputs: list[TensorSpec]
    """Outputs of the graph."""
    input_shapes: dict[str, list[int]] = Field(default_factory=dict, examples=[{"x": [1, 100, 64]}])
    """Shapes at which jobs run the model, of inputs with sizes that the file leaves open besides the batch: those of
    the metadata, else the smallest sizes at which the model runs. Empty if there are none, or none could be found."""
    opset: int = Field(examples=[20])
    """Version of the standard operator set."""
    parameters: int = Field(examples=[272474])
    """Number of trainable parameters."""
    warnings: list[str] = Field(
        default_factory=list, examples=[["The weight 'conv1.weight' holds 3 values that are not finite."]]
    )
    """What was corrected in the uploaded file, and what is wrong with it but does not keep it from being served."""


class Model(ModelDescription, StoredRecord):
    """A stored model."""

    id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of the ONNX file; equal files are stored once."""
    bytes: int = Field(examples=[1104293])
    """Size of the ONNX file in bytes."""
    derived_from_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model from which it was made."""
    quantization: QuantizationReport | None = None
    """For a quantized model: report of the quantization."""
    provenance: Provenance | None = None
    """For a model made by a job: everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files by name, such as `curves.png`; download one from `…/files/{name}`."""
    serving: ServingReport | None = None
    """What serves the model on the host that answers; null until it was measured. Not stored with the model."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"content": "/v1/models/mdl_…/content"}])
    """URLs to GET."""
    actions: dict[str, str] = Field(default_factory=dict, examples=[{"predict": "/v1/models/mdl_…/predict"}])
    """URLs to POST to: `predict`, `quantize`, `explain`."""

    @property
    def varying_inputs(self) -> list[TensorSpec]:
        """The inputs but those that the metadata name constant."""
        return [spec for spec in self.inputs if spec.name not in (self.metadata.constant_inputs or {})]


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

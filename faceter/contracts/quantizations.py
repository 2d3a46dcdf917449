"""Quantizations: the request, and the report on what was gained and lost."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from faceter.contracts.base import Contract


class QuantizationMethod(StrEnum):
    """How a model is quantized."""

    RQ = "rq"
    """Raw quantization: min-max weights, activation ranges from BatchNorm statistics, calibration data or noise."""
    DFQ = "dfq"
    """Data-free quantization (Nagel et al. 2019): equalization, bias absorption, bias correction."""
    ACIQ = "aciq"
    """Analytic clipping (Banner et al. 2019): optimal clips, per-channel bit allocation, bias correction."""


class Granularity(StrEnum):
    """How many scales a weight has."""

    TENSOR = "tensor"
    """One for the whole tensor."""
    CHANNEL = "channel"
    """One per output channel."""


Bits = Annotated[int, Field(ge=2, le=8, examples=[8])]


class QuantizationRequest(Contract):
    """What to make of a model."""

    method: QuantizationMethod = QuantizationMethod.RQ
    """How to quantize."""
    weight_bits: Bits = 8
    """Bits of every weight, 2 to 8."""
    activation_bits: Bits = 8
    """Bits of every activation, 2 to 8; the network's own input stays at 8."""
    weight_granularity: Granularity = Granularity.CHANNEL
    """One scale per weight tensor, or one per output channel."""
    calibration_dataset: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a data set to measure activation ranges on; without it none is needed."""
    evaluation_dataset: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a labelled data set to measure accuracy on, before and after; never used to choose anything."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed; equal seeds give equal models on equal machines."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["resnet20-w4a4"])
    """Name of the new model; made from the old one's if not given."""


class TensorQuantization(Contract):
    """How one tensor was quantized."""

    tensor: str = Field(examples=["layer1.0.conv1.weight"])
    """Its name in the graph."""
    role: Literal["weight", "activation", "bias"]
    """What it is."""
    layer: str | None = Field(default=None, examples=["node_conv2d_1"])
    """The node it belongs to: the one that uses a weight, the one that makes an activation."""
    bits: int = Field(examples=[4])
    """Bits of its codes."""
    scale: list[float] = Field(examples=[[0.0123]])
    """One step, or one per channel, in the tensor's own units."""
    zero_point: list[int] = Field(examples=[[0]])
    """The code of zero, one or one per channel."""
    clip: list[float] = Field(min_length=2, max_length=2, examples=[[-1.2, 1.3]])
    """Smallest and largest value that can be represented."""
    channel_bits: list[int] | None = Field(default=None, examples=[[4, 5, 3, 4]])
    """Bits per channel where a method allots them."""
    signal_to_noise_db: float | None = Field(default=None, examples=[32.5])
    """10 · log10(power of the values / power of the error); null where nothing was measured or the error is zero."""


class Agreement(Contract):
    """How well the quantized model's outputs agree with the original's."""

    source: Literal["evaluation", "calibration", "noise"]
    """What the two were compared on; noise is seeded and shaped like the input."""
    samples: int = Field(examples=[5000])
    """On how many inputs."""
    top1: float | None = Field(default=None, ge=0, le=1, examples=[0.987])
    """Share of inputs with the same first class; null for other tasks."""
    boxes: float | None = Field(default=None, ge=0, le=1, examples=[0.95])
    """For a detector: F1 of its boxes against the original's at IoU 0.5."""
    mean_absolute_error: float = Field(examples=[0.031])
    """Mean |difference| over all values of the first output."""
    relative_error: float = Field(examples=[0.012])
    """‖difference‖ / ‖original‖ over the first output."""


class Quality(Contract):
    """A score before and after, on the evaluation data."""

    metric: Literal["top1", "mAP@0.5", "mAP@[.5:.95]"]
    """Which score."""
    before: float = Field(ge=0, le=1, examples=[0.8806])
    """The original's."""
    after: float = Field(ge=0, le=1, examples=[0.8788])
    """The quantized model's."""
    samples: int = Field(examples=[5000])
    """On how many inputs."""


class Size(Contract):
    """Bytes of the ONNX file and of the weights."""

    before: int = Field(examples=[1218115])
    """The original file."""
    packed: int = Field(examples=[331204])
    """The new file, weights packed at their bits; what a download takes."""
    served: int = Field(examples=[352480])
    """The new model as it is loaded, weights as 8-bit codes in the layout served; what serving takes."""
    weights_before: int = Field(examples=[1073104])
    """The original's weights alone."""
    weights_packed: int = Field(examples=[268276])
    """The new weights alone, packed."""


class Energy(Contract):
    """An estimate of the energy of one inference, not a measurement."""

    before_joules: float = Field(examples=[0.00025])
    """The original's."""
    after_joules: float = Field(examples=[0.00004])
    """The quantized model's."""
    assumptions: list[str] = Field(examples=[["45 nm, 0.9 pJ per 32-bit float addition, 640 pJ per 32-bit DRAM read"]])
    """What the estimate rests on."""


class Latency(Contract):
    """Time of one call, measured in the same run, before and after."""

    batch: int = Field(examples=[1])
    """Inputs per call."""
    before_ms: float = Field(examples=[2.05])
    """Median of the original's calls, milliseconds."""
    after_ms: float = Field(examples=[0.98])
    """Median of the quantized model's calls, milliseconds."""
    threads: int = Field(examples=[1])
    """Threads ONNX Runtime used."""
    runs: int = Field(examples=[100])
    """Calls measured for each."""


class LayoutChoice(Contract):
    """A layout that the file was loaded in and timed in, on the worker's host."""

    layout: str = Field(examples=["u8s8-blocks"])
    """Its name."""
    milliseconds: float = Field(examples=[0.98])
    """Median time of one call."""
    served: bool
    """Whether it was the fastest, and so is the one to serve in, where the API's host has the kernels for it."""


class QuantizationReport(Contract):
    """How a quantized model was made, and what it lost."""

    settings: QuantizationRequest
    """The request, defaults filled in."""
    tensors: list[TensorQuantization]
    """Every quantized tensor."""
    float_layers: list[str] = Field(default_factory=list, examples=[["softmax"]])
    """Nodes that still compute in float, by name; none is hidden."""
    agreement: Agreement
    """How well the outputs agree with the original's."""
    quality: list[Quality] = Field(default_factory=list)
    """Accuracy or mAP before and after, if evaluation data was given."""
    size: Size
    """Bytes before and after."""
    energy: Energy
    """Estimated energy of one inference."""
    latency: list[Latency]
    """Measured time by batch size."""
    layouts: list[LayoutChoice] = Field(default_factory=list)
    """Layouts tried on the worker's host; the file is the same whichever is served."""
    notes: list[str] = Field(default_factory=list, examples=[["Activation ranges come from BatchNorm statistics."]])
    """What a reader should know: ranges from noise, layers left out, a slower layout avoided."""

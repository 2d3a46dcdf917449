"""Quantizations: request and report."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from faceter.contracts import references
from faceter.contracts.base import Contract
from faceter.contracts.input_shapes import InputShapes
from faceter.contracts.references import ResourceReference


class QuantizationMethod(StrEnum):
    """Method to quantize a model."""

    RQ = "rq"
    """Raw quantization: min–max weights; activation ranges from BatchNorm statistics, calibration data or noise."""
    DFQ = "dfq"
    """Data-free quantization (Nagel et al. 2019): equalization, bias absorption, bias correction."""
    ACIQ = "aciq"
    """Analytic clipping (Banner et al. 2019): optimal clipping, per-channel bit allocation, bias correction."""
    ZEROQ = "zeroq"
    """ZeroQ (Cai et al. 2020): tuning on inputs distilled from BatchNorm statistics. Needs BatchNorm."""
    GDFQ = "gdfq"
    """GDFQ (Xu et al. 2020): conditional generator and network, trained in turn. Needs BatchNorm and classes."""
    ZAQ = "zaq"
    """ZAQ (Liu et al. 2021): a generator seeks inputs on which the two networks differ. Any network, any outputs."""
    FT = "ft"
    """Fine-tuning on your own unlabelled inputs: the upper baseline. Needs a calibration dataset."""
    AUTO = "auto"
    """Method of Faceter: chooses its steps for the highest accuracy within the budget. Any network, any outputs."""

    @property
    def tuned(self) -> bool:
        """Whether the network is tuned after rounding, within a budget."""
        return self in (self.ZEROQ, self.GDFQ, self.ZAQ, self.FT, self.AUTO)


class Granularity(StrEnum):
    """Granularity of weight scales."""

    TENSOR = "tensor"
    """One scale per tensor."""
    CHANNEL = "channel"
    """One scale per output channel."""


Bits = Annotated[int, Field(ge=2, le=8, examples=[8])]


class Target(Contract):
    """Bit budget of a mixed-precision request, instead of fixed bits. Give either `max_drop` or `max_bytes`."""

    max_drop: float | None = Field(default=None, gt=0, le=100, examples=[1.0])
    """Largest allowed drop in percentage points of accuracy (for a detector mAP@0.5) on the evaluation data. Without
    evaluation data, of agreement with the original model on held-out inputs, which is an estimate."""
    max_bytes: int | None = Field(default=None, gt=0, examples=[120000])
    """Maximum size of all weights in bytes, packed at their bits."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.max_drop is None) == (self.max_bytes is None):
            raise ValueError("give either max_drop or max_bytes")
        return self


class QuantizationRequest(Contract):
    """Request to quantize a model."""

    method: QuantizationMethod = QuantizationMethod.AUTO
    """Quantization method."""
    weight_bits: Bits = 8
    """Bits of all weights, 2 to 8. With a `target` it must be 8, the maximum bits of a weight."""
    activation_bits: Bits = 8
    """Bits of all activations, 2 to 8; the network input always has 8. With a `target` it must be 8."""
    weight_granularity: Granularity = Granularity.CHANNEL
    """One scale per weight tensor, or one per output channel."""
    calibration_dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a dataset for calibration of activation ranges and, for `ft`, for tuning; other methods need none."""
    evaluation_dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a labelled dataset to measure accuracy before and after quantization. It is not used for any choice, except
    to decide whether a `target` is met."""
    max_minutes: float | None = Field(default=None, gt=0, examples=[6.0])
    """For methods with tuning: time budget for synthesizing inputs and tuning; measurements of the report come on
    top. When it is used up, the best model so far is kept. Default by bits if neither this nor `max_steps` is given."""
    max_steps: int | None = Field(default=None, gt=0, examples=[2000])
    """For methods with tuning: budget in steps, instead of `max_minutes`; equal seeds then give equal files."""
    resume: bool = True
    """For methods with tuning: whether to save a checkpoint every minute, from which the job is resumed if its worker
    dies."""
    target: Target | None = None
    """Bit budget, instead of fixed bits: bits are chosen for each layer. Needs a method with tuning."""
    input_shapes: InputShapes | None = Field(default=None, examples=[{"x": [1, 100, 600]}])
    """Shapes to run the model at, by input, for sizes that the file leaves open; the batch counts as 1. By default
    those of the model's metadata, else of the datasets, else the smallest at which the model runs."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed; equal seeds give equal models on equal machines."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["resnet20-w4a4"])
    """Name of the quantized model; by default derived from the name of the original."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The referenced datasets, by field."""
        ids = {
            "calibration_dataset_id": self.calibration_dataset_id,
            "evaluation_dataset_id": self.evaluation_dataset_id,
        }
        return {field: references.dataset(id) for field, id in ids.items() if id is not None}


class TensorQuantization(Contract):
    """Quantization of one tensor."""

    tensor: str = Field(examples=["layer1.0.conv1.weight"])
    """Name of the tensor in the graph."""
    role: Literal["weight", "activation", "bias"]
    """Role of the tensor."""
    layer: str | None = Field(default=None, examples=["node_conv2d_1"])
    """Node to which it belongs: the consumer of a weight, the producer of an activation."""
    bits: int = Field(examples=[4])
    """Bits of the integer codes."""
    scale: list[float] = Field(examples=[[0.0123]])
    """Quantization step in units of the tensor: one value, or one per channel."""
    zero_point: list[int] = Field(examples=[[0]])
    """Code of 0: one value, or one per channel."""
    clip: list[float] = Field(min_length=2, max_length=2, examples=[[-1.2, 1.3]])
    """Smallest and largest representable value."""
    channel_bits: list[int] | None = Field(default=None, examples=[[4, 5, 3, 4]])
    """Bits per channel, if the method uses per-channel bit allocation."""
    signal_to_noise_db: float | None = Field(default=None, examples=[32.5])
    """Signal-to-noise ratio 10 · log10(signal power / error power); null if not measured or the error is zero."""


class Agreement(Contract):
    """Agreement of the outputs of the quantized model with those of the original."""

    source: Literal["evaluation", "calibration", "synthetic", "noise"]
    """Inputs of the comparison. `synthetic` inputs are held out of tuning; `noise` is seeded and has the shape of the
    model input."""
    samples: int = Field(examples=[5000])
    """Number of inputs."""
    top1: float | None = Field(default=None, ge=0, le=1, examples=[0.987])
    """Share of inputs with the same top-1 class; null for other tasks."""
    boxes: float | None = Field(default=None, ge=0, le=1, examples=[0.95])
    """For a detector: F1 score of its boxes against those of the original, at IoU 0.5."""
    cosine: float | None = Field(default=None, ge=-1, le=1, examples=[0.995])
    """For embeddings: mean cosine similarity of the embeddings of the same input."""
    mean_absolute_error: float = Field(examples=[0.031])
    """Mean absolute difference over all values of the first output."""
    relative_error: float = Field(examples=[0.012])
    """‖difference‖ / ‖original‖ over the first output."""


class Quality(Contract):
    """Quality before and after quantization, on the evaluation data."""

    metric: Literal["top1", "map_50", "map_50_95", "density", "coverage"]
    """Metric. `density` and `coverage` are for generators: its images against those of the original, with colours on a
    16 × 16 grid as features; density may exceed 1."""
    before: float = Field(ge=0, examples=[0.8806])
    """Value of the original; for `density` and `coverage`, its images against themselves."""
    after: float = Field(ge=0, examples=[0.8788])
    """Value of the quantized model."""
    samples: int = Field(examples=[5000])
    """Number of inputs."""


class Size(Contract):
    """Size of the ONNX file and of the weights in bytes."""

    before: int = Field(examples=[1218115])
    """Original file."""
    packed: int = Field(examples=[331204])
    """Quantized file with weights packed at their bits; this is the download."""
    served: int = Field(examples=[352480])
    """Quantized model as loaded for serving, with weights as 8-bit codes in the served layout."""
    weights_before: int = Field(examples=[1073104])
    """Weights of the original."""
    weights_packed: int = Field(examples=[268276])
    """Quantized weights, packed at their bits."""


class Energy(Contract):
    """Estimated (not measured) energy of one inference."""

    before_joules: float = Field(examples=[0.00025])
    """Energy of the original."""
    after_joules: float = Field(examples=[0.00004])
    """Energy of the quantized model."""
    assumptions: list[str] = Field(examples=[["45 nm, 0.9 pJ per 32-bit float addition, 640 pJ per 32-bit DRAM read"]])
    """Assumptions of the estimate."""


class Latency(Contract):
    """Latency before and after quantization, measured in the same run."""

    batch: int = Field(examples=[1])
    """Inputs per call."""
    before_ms: float = Field(examples=[2.05])
    """Median time of a call of the original, milliseconds."""
    after_ms: float = Field(examples=[0.98])
    """Median time of a call of the quantized model, milliseconds."""
    threads: int = Field(examples=[1])
    """Threads of ONNX Runtime."""
    runs: int = Field(examples=[100])
    """Measured calls of each model."""


class LayoutChoice(Contract):
    """A graph layout and its latency on the host of the worker."""

    layout: str = Field(examples=["u8s8-blocks"])
    """Name of the layout."""
    milliseconds: float = Field(examples=[0.98])
    """Median time of a call."""
    served: bool
    """Whether it was the fastest. The model is served in this layout if the host of the API has the kernels for it."""


class CurvePoint(Contract):
    """State of tuning at one step."""

    step: int = Field(examples=[400])
    """Steps taken."""
    seconds: float = Field(examples=[31.5])
    """Tuning time so far, including time before an interruption."""
    phase: str = Field(examples=["tuning"])
    """Phase of tuning."""
    losses: dict[str, float] = Field(default_factory=dict, examples=[{"kl": 0.031, "features": 0.012}])
    """Mean of each loss since the previous point, by name."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """Agreement with the original on held-out inputs, if measured: share of equal top-1 classes, or for other outputs
    1 − ‖difference‖ / ‖original‖, at least 0."""
    accuracy: float | None = Field(default=None, ge=0, le=1, examples=[0.87])
    """Accuracy on a part of the evaluation data, if measured; for information only, not used for any choice."""


class Phase(Contract):
    """One phase of a method with tuning."""

    name: str = Field(examples=["synthesis"])
    """Name of the phase."""
    steps: int = Field(examples=[600])
    """Number of steps."""
    seconds: float = Field(examples=[120.0])
    """Time spent."""


class Tuning(Contract):
    """Tuning of the network after rounding."""

    path: str = Field(examples=["inputs distilled from BatchNorm statistics"])
    """Source of the tuning inputs."""
    steps: int = Field(examples=[2000])
    """Total number of steps."""
    seconds: float = Field(examples=[360.0])
    """Total time."""
    phases: list[Phase]
    """Steps and time by phase."""
    ended_by: Literal["budget", "request"]
    """Whether tuning ended because the budget was used up, or by `POST …/finish`."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """Agreement of the kept model with the original on held-out inputs, see `CurvePoint`."""
    kept_step: int = Field(examples=[1900])
    """Step of the kept model, the best on held-out inputs; 0 if none was better than rounding alone."""
    restarts: int = Field(default=0, examples=[0])
    """Number of restarts with a lower learning rate, after a loss was not finite."""
    resumed: int = Field(default=0, examples=[0])
    """Number of times it was resumed from a checkpoint, after a worker died or was stopped."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Floating-point type of convolutions and matrix products in tuning."""
    compiled: bool = False
    """Whether the inner loops were compiled on the host of the worker."""
    synthetic_dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset of synthetic inputs."""


class TradeOffPoint(Contract):
    """Bit allocation on the Pareto frontier of size and sensitivity."""

    weight_bytes: int = Field(examples=[134138])
    """Size of all weights in bytes, packed at their bits."""
    sensitivity: float = Field(examples=[0.42])
    """Sum over layers of the mean divergence KL(P ‖ P with only this layer quantized); smaller is better."""
    bits: dict[str, int] = Field(examples=[{"layer1.0.conv1.weight": 4}])
    """Bits of each weight."""
    predicted: float | None = Field(default=None, examples=[0.93])
    """Agreement predicted from the sensitivity."""
    measured: float | None = Field(default=None, examples=[0.91])
    """Measured accuracy or agreement, if this point was measured: for the chosen point the value of the report, for
    others on at most 5,000 samples."""
    tuned: bool = False
    """Whether it was measured after tuning instead of after rounding alone."""


class TradeOff(Contract):
    """Trade-off between size and quality, and the chosen bit allocation."""

    measure: Literal["accuracy", "agreement"]
    """Metric of `measured`: accuracy (mAP@0.5 for a detector) on the evaluation data, or agreement with the original on
    held-out inputs, which is an estimate."""
    original: float = Field(examples=[0.88])
    """Value of the original; 1 for agreement."""
    points: list[TradeOffPoint]
    """Pareto frontier, smallest size first."""
    chosen: int = Field(examples=[17])
    """Index of the chosen point."""
    met: bool
    """Whether the quantized model meets the target."""


class QuantizationReport(Contract):
    """Report on a quantized model: settings, quality, size, energy and latency."""

    settings: QuantizationRequest
    """Settings of the request, including defaults."""
    tensors: list[TensorQuantization]
    """All quantized tensors."""
    input_shapes: dict[str, list[int]] = Field(default_factory=dict, examples=[{"x": [1, 100, 64]}])
    """Shapes of the inputs with sizes that the file leaves open besides the batch. Every figure of the report holds for
    these; the quantized model takes any, as the original does."""
    float_layers: list[str] = Field(default_factory=list, examples=[["softmax"]])
    """Names of all nodes that still compute in float."""
    agreement: Agreement
    """Agreement of the outputs with those of the original."""
    quality: list[Quality] = Field(default_factory=list)
    """Quality before and after, if evaluation data was given."""
    size: Size
    """Size before and after."""
    energy: Energy
    """Estimated energy of one inference."""
    latency: list[Latency]
    """Measured latency by batch size."""
    layouts: list[LayoutChoice] = Field(default_factory=list)
    """Layouts measured on the host of the worker; the file does not depend on the layout."""
    tuning: Tuning | None = None
    """For methods with tuning: record of the tuning. The curves are in `files` of the model."""
    trade_off: TradeOff | None = None
    """For a `target`: trade-off between size and quality. The plot is in `files` of the model."""
    warnings: list[str] = Field(default_factory=list, examples=[["Activation ranges come from BatchNorm statistics."]])
    """What a reader should know, such as ranges from noise, layers left in float, a slow layout avoided."""

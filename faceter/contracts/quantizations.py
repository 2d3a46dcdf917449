"""Quantizations: the request, and the report on what was gained and lost."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from faceter.contracts.base import Contract


class QuantizationMethod(StrEnum):
    """How a model is quantized."""

    RQ = "rq"
    """Raw quantization: min-max weights, activation ranges from BatchNorm statistics, calibration data or noise."""
    DFQ = "dfq"
    """Data-free quantization (Nagel et al. 2019): equalization, bias absorption, bias correction."""
    ACIQ = "aciq"
    """Analytic clipping (Banner et al. 2019): optimal clips, per-channel bit allocation, bias correction."""
    ZEROQ = "zeroq"
    """ZeroQ (Cai et al. 2020): inputs distilled from BatchNorm statistics, then tuning on them. Needs BatchNorm."""
    GDFQ = "gdfq"
    """GDFQ (Xu et al. 2020): a conditional generator and the network tuned in turn. Needs BatchNorm and classes."""
    ZAQ = "zaq"
    """ZAQ (Liu et al. 2021): a generator seeks inputs on which the two networks differ. Any network, any outputs."""
    FT = "ft"
    """Fine-tuning on your own inputs, labels not used: the upper reference. Needs a calibration dataset."""
    AUTO = "auto"
    """Faceter's own: chooses by itself what gives most accuracy in the time there is. Any network, any outputs."""

    @property
    def tuned(self) -> bool:
        """Whether the network is trained after rounding, for which there is a budget."""
        return self in (self.ZEROQ, self.GDFQ, self.ZAQ, self.FT, self.AUTO)


class Granularity(StrEnum):
    """How many scales a weight has."""

    TENSOR = "tensor"
    """One for the whole tensor."""
    CHANNEL = "channel"
    """One per output channel."""


Bits = Annotated[int, Field(ge=2, le=8, examples=[8])]


class Target(Contract):
    """What the quantized model must reach, instead of bits; each layer then gets bits of its own. One of the two."""

    max_drop: float | None = Field(default=None, gt=0, le=100, examples=[1.0])
    """Most points of accuracy (of mAP@0.5 for a detector) to lose on the evaluation data or, without those, of
    agreement with the original on inputs that were held out, which is an estimate."""
    max_bytes: int | None = Field(default=None, gt=0, examples=[120000])
    """Most bytes that all weights may take, packed at their bits."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.max_drop is None) == (self.max_bytes is None):
            raise ValueError("give either max_drop or max_bytes")
        return self


class QuantizationRequest(Contract):
    """What to make of a model."""

    method: QuantizationMethod = QuantizationMethod.AUTO
    """How to quantize."""
    weight_bits: Bits = 8
    """Bits of every weight, 2 to 8. With a `target`, 8: the most that a weight may have."""
    activation_bits: Bits = 8
    """Bits of every activation, 2 to 8; the network's own input stays at 8. With a `target`, 8."""
    weight_granularity: Granularity = Granularity.CHANNEL
    """One scale per weight tensor, or one per output channel."""
    calibration_dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a dataset to measure activation ranges on and, for `ft`, to tune on; others need none."""
    evaluation_dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a labelled dataset to measure accuracy on, before and after; never used to choose anything, but for
    whether a `target` is met."""
    max_minutes: float | None = Field(default=None, gt=0, examples=[6.0])
    """For a tuned method: how long making inputs and tuning may take; the report's measurements come on top. The best
    model so far is kept when it is spent. Chosen by the bits if neither this nor `max_steps` is given."""
    max_steps: int | None = Field(default=None, gt=0, examples=[2000])
    """For a tuned method: how many steps it may take, instead of minutes; equal seeds then give equal files."""
    resume: bool = True
    """For a tuned method: whether checkpoints are kept each minute, so that the job goes on where it was if its worker
    dies."""
    target: Target | None = None
    """Instead of bits: what to reach with bits chosen for each layer. Needs a tuned method."""
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

    source: Literal["evaluation", "calibration", "synthetic", "noise"]
    """What the two were compared on: synthetic inputs that were held out of tuning; noise is seeded and shaped like
    the input."""
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

    metric: Literal["top1", "map_50", "map_50_95", "density", "coverage"]
    """Which score. `density` and `coverage` are of a generator: its images against the original's, by their colours
    on a grid of 16 × 16; density may exceed 1."""
    before: float = Field(ge=0, examples=[0.8806])
    """The original's; of `density` and `coverage`, its images against themselves."""
    after: float = Field(ge=0, examples=[0.8788])
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


class CurvePoint(Contract):
    """How tuning stood at one moment."""

    step: int = Field(examples=[400])
    """Steps taken."""
    seconds: float = Field(examples=[31.5])
    """Seconds spent on them, those before an interruption included."""
    phase: str = Field(examples=["tuning"])
    """What was being done."""
    losses: dict[str, float] = Field(default_factory=dict, examples=[{"kl": 0.031, "features": 0.012}])
    """Mean of each loss since the point before, by name."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """Agreement with the original on held-out inputs, where it was measured: share of equal first classes, or for other
    outputs 1 − ‖difference‖ / ‖original‖, not below 0."""
    accuracy: float | None = Field(default=None, ge=0, le=1, examples=[0.87])
    """Accuracy on a part of the evaluation data, where it was measured; shown only, nothing is chosen by it."""


class Phase(Contract):
    """One part of a tuned method's work."""

    name: str = Field(examples=["synthesis"])
    """What was done."""
    steps: int = Field(examples=[600])
    """In how many steps."""
    seconds: float = Field(examples=[120.0])
    """In how much time."""


class Tuning(Contract):
    """How the network was tuned after rounding."""

    path: str = Field(examples=["inputs distilled from BatchNorm statistics"])
    """Where the inputs it was tuned on came from."""
    steps: int = Field(examples=[2000])
    """Steps taken in all."""
    seconds: float = Field(examples=[360.0])
    """Time spent on them."""
    phases: list[Phase]
    """What those went into."""
    ended_by: Literal["budget", "request"]
    """Whether the budget was spent, or someone asked for the best so far."""
    agreement: float | None = Field(default=None, ge=0, le=1, examples=[0.97])
    """The kept model's agreement with the original on held-out inputs; see `CurvePoint`."""
    kept_step: int = Field(examples=[1900])
    """The step whose model was kept, the best on held-out inputs; 0 if none was better than rounding alone."""
    restarts: int = Field(default=0, examples=[0])
    """How often it was begun again at a lower rate, because a loss was no longer finite."""
    resumed: int = Field(default=0, examples=[0])
    """How often it went on from a checkpoint, after a worker died or was stopped."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """What convolutions and matrix products of training were computed in."""
    compiled: bool = False
    """Whether the inner loops were compiled on the worker's host."""
    synthetic_dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset made of the inputs that were synthesized."""


class TradeOffPoint(Contract):
    """One choice of bits for every layer that no other beats in both size and sensitivity."""

    weight_bytes: int = Field(examples=[134138])
    """Bytes of all weights, packed."""
    sensitivity: float = Field(examples=[0.42])
    """Sum over layers of the mean divergence KL(P ‖ P with this layer alone quantized); smaller is better."""
    bits: dict[str, int] = Field(examples=[{"layer1.0.conv1.weight": 4}])
    """Bits of each weight."""
    predicted: float | None = Field(default=None, examples=[0.93])
    """Agreement predicted from the sensitivity."""
    measured: float | None = Field(default=None, examples=[0.91])
    """Accuracy or agreement measured, where this point was tried: of the chosen one that of the report, of others on
    5,000 samples at most."""
    tuned: bool = False
    """Whether it was measured after tuning, and not after rounding alone."""


class TradeOff(Contract):
    """Size against quality, and the point that was chosen."""

    measure: Literal["accuracy", "agreement"]
    """What `measured` is: accuracy (mAP@0.5 for a detector) on the evaluation data, or agreement with the original
    on inputs that were held out, which is an estimate."""
    original: float = Field(examples=[0.88])
    """The original's; 1 for agreement."""
    points: list[TradeOffPoint]
    """The Pareto frontier, smallest first."""
    chosen: int = Field(examples=[17])
    """Which of the points was taken."""
    met: bool
    """Whether the target is met by the model made."""


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
    tuning: Tuning | None = None
    """For a tuned method: how the network was tuned. Its curves are among the model's files."""
    trade_off: TradeOff | None = None
    """For a `target`: size against quality. Its image is among the model's files."""
    warnings: list[str] = Field(default_factory=list, examples=[["Activation ranges come from BatchNorm statistics."]])
    """What a reader should know: ranges from noise, layers left out, a slower layout avoided."""

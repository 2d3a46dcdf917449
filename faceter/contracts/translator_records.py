"""Results of translator training: record, losses, contact sheets and evaluation."""

from typing import Literal

from pydantic import Field

from faceter.contracts.base import Contract
from faceter.contracts.translation_methods import TranslationMethod


class DirectionEvaluation(Contract):
    """Quality of the translations in one direction."""

    images: int = Field(examples=[24])
    """Number of translated images."""
    held_out: bool
    """Whether these images were not used for training."""
    metrics: dict[str, float] = Field(default_factory=dict, examples=[{"density": 0.81, "coverage": 0.7, "fid": 61.2}])
    """Metrics of the translations against images of the target domain; empty without `features`."""
    untranslated: dict[str, float] = Field(
        default_factory=dict, examples=[{"density": 0.1, "coverage": 0.2, "fid": 130.4}]
    )
    """The same metrics of the images before translation, as a baseline."""
    brightness: dict[str, float] = Field(examples=[{"source": 0.21, "translated": 0.43, "target": 0.46}])
    """Mean brightness (Rec. 601 luma, 0 to 1) of the source images, of their translations and of the target domain."""
    reconstruction_error: float | None = Field(default=None, examples=[0.042])
    """Mean absolute difference between images and their cycle reconstructions (translated and translated back), as a
    fraction of the value range; null for translators of one direction."""
    pixel_error: float | None = Field(default=None, examples=[0.088])
    """For pairs: mean absolute difference between translations and targets, as a fraction of the value range."""
    mean_image_error: float | None = Field(default=None, examples=[0.171])
    """The same error of a constant output, the mean of the target training images: a baseline for `pixel_error`."""


class TrainingRecord(Contract):
    """Record of the training of a translator."""

    method: TranslationMethod
    """Training method."""
    steps: int = Field(examples=[12_000])
    """Training steps, without those of the training that was resumed."""
    epochs: float = Field(examples=[100.0])
    """Passes over the images of the larger domain."""
    seconds: float = Field(examples=[3600.0])
    """Training time."""
    steps_per_second: float = Field(examples=[3.3])
    """Training steps per second."""
    waited_seconds: float = Field(examples=[0.2])
    """Part of the training time spent waiting for images."""
    ended_by: Literal["budget", "request", "time_limit", "diverged"]
    """Why training ended: `budget`, minutes or epochs used up; `request`, ended by `…/finish`; `time_limit`, the
    server's limit for jobs; `diverged`, losses were not finite, and the last finite state is kept."""
    losses: dict[str, float] = Field(examples=[{"G_a2b": 0.31, "cycle_a": 0.8, "D_b": 0.21}])
    """Mean of each loss over the last interval."""
    parameters: dict[str, int] = Field(examples=[{"generator": 11_378_179, "discriminator": 2_764_737}])
    """Number of parameters of each network."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Floating-point type of the convolutions."""
    compiled: bool = False
    """Whether the networks were compiled on the host of the worker."""
    acceleration: str | None = Field(default=None, examples=["bfloat16 in hardware; not compiled: no C++ compiler"])
    """Acceleration that was available on the host."""
    restarts: int = 0
    """Number of restarts from the last finite state with a lower learning rate, after a loss was not finite."""
    resumed: int = 0
    """Number of times training was resumed from a checkpoint, after a worker died or was stopped."""


class LossPoint(Contract):
    """Losses at one point of training."""

    step: int = Field(examples=[1200])
    """Training steps so far."""
    seconds: float = Field(examples=[310.5])
    """Training time so far."""
    losses: dict[str, float] = Field(examples=[{"G_a2b": 0.31, "cycle_a": 0.8, "D_b": 0.21}])
    """Mean of each loss since the previous point."""


class TranslatorCurves(Contract):
    """Loss curves of a translator."""

    points: list[LossPoint]
    """Points in order of steps."""


class TrainingSample(Contract):
    """Contact sheet of fixed images at one point of training."""

    step: int = Field(examples=[1200])
    """Training steps so far."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"image": "/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/samples/1200/image"}]
    )
    """URLs to GET: `image`, the contact sheet as PNG."""


class TranslatorSamples(Contract):
    """Contact sheets of a translator: A, translated to B, back to A; B, translated to A, back to B."""

    items: list[TrainingSample]
    """Contact sheets in order of steps; thinned out during long training by dropping every other one."""

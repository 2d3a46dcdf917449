"""Translators: images of one domain into another, trained here or made of two uploaded generators."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, Timestamp
from faceter.contracts.errors import Problem
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.job_progress import JobStatus, Progress

PUBLISHED_EPOCHS = 200
"""Epochs of both papers."""

LEAST_IMAGE_SIZE = 16
"""Least sides of the images trained on, pixels."""

_LARGE = 256
_BLOCKS_OF_LARGE, _BLOCKS_OF_SMALL = 9, 6
_DEEPEST = 8
_LAYERS, _LAYERS_OF_TINY, _TINY = 3, 2, 24


class TranslationMethod(StrEnum):
    """How a translator is trained."""

    CYCLEGAN = "cyclegan"
    """From two sets of images that do not belong together in pairs; both directions (Zhu et al. 2017)."""
    PIX2PIX = "pix2pix"
    """From pairs; one direction (Isola et al. 2017)."""


class GeneratorKind(StrEnum):
    """What a generator looks like."""

    RESNET = "resnet"
    """Two halvings, residual blocks, two doublings."""
    UNET = "unet"
    """Halvings down to a few pixels and doublings back, each with a connection across."""

    @property
    def multiple(self) -> int:
        """What the sides of the images trained on must be a multiple of, pixels."""
        return 32 if self is GeneratorKind.UNET else 4


class Direction(StrEnum):
    """From which domain to which."""

    A2B = "a2b"
    B2A = "b2a"

    @property
    def back(self) -> "Direction":
        """The other one."""
        return Direction.B2A if self is Direction.A2B else Direction.A2B

    @property
    def source(self) -> Literal["A", "B"]:
        """The domain it takes."""
        return "A" if self is Direction.A2B else "B"

    @property
    def target(self) -> Literal["A", "B"]:
        """The domain it gives."""
        return "B" if self is Direction.A2B else "A"


def residual_blocks_at(image_size: int) -> int:
    """Return how many residual blocks a resnet has if nothing is said: nine from 256 pixels on and six below."""
    return _BLOCKS_OF_LARGE if image_size >= _LARGE else _BLOCKS_OF_SMALL


def unet_depth_at(image_size: int) -> int:
    """Return how often a unet halves its images: as often as they can be, eight times at most.

    Args:
        image_size: Sides of the images trained on, pixels, a multiple of 32.
    """
    return min((image_size & -image_size).bit_length() - 1, _DEEPEST)


def discriminator_layers_at(image_size: int) -> int:
    """Return how many layers of a discriminator halve: three; two below 24 pixels, too small for three."""
    return _LAYERS if image_size >= _TINY else _LAYERS_OF_TINY


class TranslatorTraining(Contract):
    """What to train a translator on, and how; the defaults are those of the papers."""

    method: TranslationMethod
    """How to train it."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a dataset of kind `domains`; for `pix2pix` one that was uploaded with `paired=true`."""
    evaluation_dataset_id: str | None = Field(default=None, examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Id of a dataset of kind `domains` that is not trained on: its images are those of the samples and the
    evaluation. Images of `dataset_id` if not given. Paired ones give a pixel error too."""
    features: FeatureSource | None = None
    """Which model and tensor describe images for density, coverage and FID of translations against the target domain;
    these are left out without it."""
    image_size: int = Field(default=256, ge=LEAST_IMAGE_SIZE, le=1024)
    """Sides of the square that training looks at, pixels: a multiple of 4, for `unet` of 32. Images are scaled to
    286 / 256 of it and cut at random."""
    base_channels: int = Field(default=64, ge=1, le=256)
    """Channels of the first layer of generators and discriminators; time and memory grow with the square."""
    residual_blocks: int | None = Field(default=None, ge=1, le=32, examples=[9])
    """Residual blocks of a `resnet` generator; 9 from an `image_size` of 256 on and 6 below if not given."""
    generator: GeneratorKind | None = None
    """What generators look like; `resnet` for cyclegan and `unet` for pix2pix if not given."""
    identity: float = Field(default=0.5, ge=0, le=10)
    """For cyclegan: weight of the identity loss, times `cycle_weight`. It keeps colours as they are; 0 leaves it out,
    and saves a quarter of the time."""
    cycle_weight: float = Field(default=10.0, gt=0, le=1000)
    """For cyclegan: weight λ of the cycle loss."""
    l1_weight: float = Field(default=100.0, ge=0, le=10_000)
    """For pix2pix: weight of the mean absolute error."""
    direction: Direction = Direction.A2B
    """For pix2pix: which domain is made of which."""
    max_minutes: float | None = Field(default=None, gt=0, examples=[60.0])
    """How long to train. What follows (evaluation, writing the models) comes on top."""
    epochs: int | None = Field(default=None, ge=1, le=100_000, examples=[200])
    """How many times to go through the images of the larger domain, instead of minutes; equal seeds then give equal
    translators on equal machines. 200 if neither is given."""
    batch_size: int = Field(default=1, ge=1, le=64)
    """Images of each domain per step."""
    learning_rate: float = Field(default=2e-4, gt=0, le=0.1)
    """Adam's rate: constant for the first half, then in a line to 0."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed."""
    resume_from_id: str | None = Field(default=None, examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a translator that was trained here, to go on from: networks, discriminators and optimizers. What the
    networks look like is then that translator's."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["dusk to day"])
    """What to call it; made from the name of the dataset if not given."""

    @property
    def kind(self) -> GeneratorKind:
        """What generators look like, the default filled in."""
        if self.generator is not None:
            return self.generator
        return GeneratorKind.UNET if self.method is TranslationMethod.PIX2PIX else GeneratorKind.RESNET

    @property
    def blocks(self) -> int:
        """Residual blocks, the default filled in."""
        return self.residual_blocks or residual_blocks_at(self.image_size)

    @property
    def directions(self) -> list[Direction]:
        """The directions it learns."""
        return list(Direction) if self.method is TranslationMethod.CYCLEGAN else [self.direction]

    @property
    def uses(self) -> list[str]:
        """Ids of the datasets, models and translators it reads."""
        features = self.features.model_id if self.features else None
        ids = [self.dataset_id, self.evaluation_dataset_id, features, self.resume_from_id]
        return list(dict.fromkeys(id for id in ids if id is not None))


class UploadedGenerators(Contract):
    """A translator of generators that were uploaded: both, or one."""

    a2b_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model that makes images of domain B from those of A."""
    b2a_id: str | None = Field(default=None, examples=["mdl_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the model that makes images of domain A from those of B."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["dusk to day"])
    """What to call it; made from the models' names if not given."""

    @property
    def models(self) -> dict[Direction, str]:
        """The models that are given, by direction."""
        given = {Direction.A2B: self.a2b_id, Direction.B2A: self.b2a_id}
        return {direction: id for direction, id in given.items() if id is not None}


def _form(value: Any) -> str:
    said = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "uploaded" if "method" not in said and ("a2b_id" in said or "b2a_id" in said) else "training"


TranslatorRequest = Annotated[
    Annotated[TranslatorTraining, Tag("training")] | Annotated[UploadedGenerators, Tag("uploaded")],
    Discriminator(_form),
]
"""What to make a translator of: a dataset to train on, or uploaded generators (`a2b_id`, `b2a_id`)."""


class DirectionEvaluation(Contract):
    """How good translations of one direction are."""

    images: int = Field(examples=[24])
    """How many were translated."""
    held_out: bool
    """Whether they were no part of training."""
    metrics: dict[str, float] = Field(default_factory=dict, examples=[{"density": 0.81, "coverage": 0.7, "fid": 61.2}])
    """Translations against images of the target domain, by metric; empty without `features`."""
    untranslated: dict[str, float] = Field(
        default_factory=dict, examples=[{"density": 0.1, "coverage": 0.2, "fid": 130.4}]
    )
    """The same of the images before translation, to compare with."""
    brightness: dict[str, float] = Field(examples=[{"source": 0.21, "translated": 0.43, "target": 0.46}])
    """Mean brightness (Rec. 601 luma, 0 to 1) of the images, of their translations and of the target domain."""
    reconstruction_error: float | None = Field(default=None, examples=[0.042])
    """Mean absolute difference, in shares of the range, between images and their translations translated back; null
    for one direction alone."""
    pixel_error: float | None = Field(default=None, examples=[0.088])
    """For pairs: mean absolute difference between translations and what they should be, in shares of the range."""
    mean_image_error: float | None = Field(default=None, examples=[0.171])
    """The same of one image for all, the mean of the target images trained on: what a translator has to beat."""


class TrainingRecord(Contract):
    """How a translator came about."""

    method: TranslationMethod
    """How it was trained."""
    steps: int = Field(examples=[12_000])
    """Steps taken, those of earlier training that it went on from left out."""
    epochs: float = Field(examples=[100.0])
    """How many times it went through the images of the larger domain."""
    seconds: float = Field(examples=[3600.0])
    """How long training took."""
    steps_per_second: float = Field(examples=[3.3])
    """Its speed."""
    waited_seconds: float = Field(examples=[0.2])
    """How long steps waited for images, of all that."""
    ended_by: Literal["budget", "request", "time_limit", "diverged"]
    """Why it ended: its minutes or epochs were over, someone asked it to, the server's limit for jobs, or losses that
    were no longer finite, in which case it is what it was before that."""
    losses: dict[str, float] = Field(examples=[{"G_a2b": 0.31, "cycle_a": 0.8, "D_b": 0.21}])
    """Mean of each loss over the last part."""
    parameters: dict[str, int] = Field(examples=[{"generator": 11_378_179, "discriminator": 2_764_737}])
    """How many numbers each network has."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """What convolutions were computed in."""
    compiled: bool = False
    """Whether networks were compiled on the worker's host."""
    acceleration: str | None = Field(default=None, examples=["bfloat16 in hardware; not compiled: no C++ compiler"])
    """What the host was found to have, in words."""
    restarts: int = 0
    """How often it went back to its last good state at a lower rate, because a loss was no longer finite."""
    resumed: int = 0
    """How often it went on from a checkpoint, after a worker died or was stopped."""


class _TranslatorBase(Contract):
    id: str = Field(examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["dusk to day"])
    """What it is called."""
    created_at: Timestamp
    """When it was made; of one in training, when that was asked for."""
    settings: TranslatorTraining | None = None
    """What it was trained on and how; null for uploaded generators."""
    job_id: str | None = Field(default=None, examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """The job that trains it, or did; null for uploaded generators."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""


class Translator(_TranslatorBase):
    """A translator that is ready."""

    status: Literal["ready"] = "ready"
    """It can translate."""
    sha256: Sha256
    """SHA-256 of its archive: of one that was trained, its last checkpoint, samples and curves."""
    bytes: int = Field(examples=[182_340_112])
    """Size of its archive."""
    model_ids: dict[Direction, str] = Field(examples=[{"a2b": "mdl_4x8k2m9q0v7r3t6w1y5z"}])
    """Ids of its generators, models like any other."""
    model_sha256: dict[Direction, Sha256]
    """SHA-256 of their files."""
    training: TrainingRecord | None = None
    """How it came about; null for uploaded generators."""
    evaluation: dict[Direction, DirectionEvaluation] = Field(default_factory=dict)
    """How good its translations are; empty for uploaded generators."""
    warnings: list[str] = Field(
        default_factory=list,
        examples=[["The evaluation looks at images of the training set. Name an `evaluation_dataset_id` for others."]],
    )
    """What a reader should know."""
    provenance: Provenance | None = None
    """Everything needed to make it again."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files that belong to it, by name, such as `samples.png` and `curves.png`; `…/files/{name}`."""

    @property
    def directions(self) -> list[Direction]:
        """The directions it has."""
        return list(self.model_ids)


class TranslatorInTraining(_TranslatorBase):
    """A translator that is not ready: its job is queued or running, or ended without one."""

    settings: TranslatorTraining
    """What it is trained on and how."""
    job_id: str = Field(examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """The job that trains it."""
    status: Literal[JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELED]
    """Where its job is."""
    progress: Progress | None = None
    """How far it is."""
    checkpoint: bool = False
    """Whether there is a checkpoint, which `?checkpoint=latest` translates with."""
    error: Problem | None = None
    """Why the job failed, if it did."""

    @property
    def directions(self) -> list[Direction]:
        """The directions it learns."""
        return self.settings.directions


class TranslatorSummary(Contract):
    """A translator as lists show it."""

    id: str = Field(examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["dusk to day"])
    """What it is called."""
    created_at: Timestamp
    """When it was made."""
    method: TranslationMethod | None = None
    """How it was trained; null for uploaded generators."""
    model_ids: dict[Direction, str] = Field(examples=[{"a2b": "mdl_4x8k2m9q0v7r3t6w1y5z"}])
    """Ids of its generators."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""


class LossPoint(Contract):
    """How training stood."""

    step: int = Field(examples=[1200])
    """Steps taken."""
    seconds: float = Field(examples=[310.5])
    """Seconds of training."""
    losses: dict[str, float] = Field(examples=[{"G_a2b": 0.31, "cycle_a": 0.8, "D_b": 0.21}])
    """Mean of each loss since the point before."""


class TranslatorCurves(Contract):
    """How the losses of a translator went."""

    points: list[LossPoint]
    """In order."""


class TrainingSample(Contract):
    """A contact sheet of the fixed images at one moment of training."""

    step: int = Field(examples=[1200])
    """Steps taken by then."""
    url: str = Field(examples=["/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/samples/1200"])
    """The sheet, a PNG."""


class TranslatorSamples(Contract):
    """The contact sheets of a translator: real A, as B, back as A; real B, as A, back as B."""

    items: list[TrainingSample]
    """In the order of training; of many, every other one was dropped as they came."""

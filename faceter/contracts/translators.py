"""Translators of images between two domains, trained here or made from uploaded generators."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag

from faceter.contracts import references
from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, StoredRecord, Timestamp, name_contains
from faceter.contracts.errors import Problem
from faceter.contracts.evaluations import FeatureSource
from faceter.contracts.job_progress import JobStatus, Progress
from faceter.contracts.references import ResourceReference
from faceter.contracts.serving import ServingPrecision
from faceter.contracts.translation_methods import Direction, GeneratorKind, TranslationMethod
from faceter.contracts.translator_records import DirectionEvaluation, TrainingRecord

PUBLISHED_EPOCHS = 200
"""Default number of epochs, as in both papers."""

LEAST_IMAGE_SIZE = 16
"""Minimum side length of training images, pixels."""

_LARGE = 256
_BLOCKS_OF_LARGE, _BLOCKS_OF_SMALL = 9, 6
_DEEPEST = 8
_LAYERS, _LAYERS_OF_TINY, _TINY = 3, 2, 24


def residual_blocks_at(image_size: int) -> int:
    """Return the default number of residual blocks of a resnet: nine from 256 pixels, six below."""
    return _BLOCKS_OF_LARGE if image_size >= _LARGE else _BLOCKS_OF_SMALL


def unet_depth_at(image_size: int) -> int:
    """Return the number of downsampling layers of a unet: as many as the image size allows, at most eight.

    Args:
        image_size: Side length of training images, pixels, a multiple of 32.
    """
    return min((image_size & -image_size).bit_length() - 1, _DEEPEST)


def discriminator_layers_at(image_size: int) -> int:
    """Return the number of downsampling layers of a discriminator: three, or two below 24 pixels."""
    return _LAYERS if image_size >= _TINY else _LAYERS_OF_TINY


class TranslatorTraining(Contract):
    """Request to train a translator; the defaults are those of the papers."""

    method: TranslationMethod
    """Training method."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a dataset of kind `domains`; for `pix2pix` it must be uploaded with `paired=true`."""
    evaluation_dataset_id: str | None = Field(default=None, examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Id of a held-out dataset of kind `domains`, used for the contact sheets and the evaluation; by default images of
    `dataset_id` are used. A paired dataset also gives a pixel error."""
    features: FeatureSource | None = None
    """Feature extractor for density, coverage and FID of the translations against the target domain; without it they
    are not computed."""
    image_size: int = Field(default=256, ge=LEAST_IMAGE_SIZE, le=1024)
    """Side length of the square training crops, pixels: a multiple of 4, for `unet` of 32. Images are scaled to
    286 / 256 of it and cropped at random."""
    base_channels: int = Field(default=64, ge=1, le=256)
    """Channels of the first layer of generators and discriminators; time and memory grow with its square."""
    residual_blocks: int | None = Field(default=None, ge=1, le=32, examples=[9])
    """Residual blocks of a `resnet` generator; by default 9 for an `image_size` of at least 256, else 6."""
    generator: GeneratorKind | None = None
    """Architecture of the generators; by default `resnet` for cyclegan and `unet` for pix2pix."""
    identity: float = Field(default=0.5, ge=0, le=10)
    """For cyclegan: weight of the identity loss, times `cycle_weight`. It preserves colours; 0 disables it and saves a
    quarter of the training time."""
    cycle_weight: float = Field(default=10.0, gt=0, le=1000)
    """For cyclegan: weight λ of the cycle loss."""
    l1_weight: float = Field(default=100.0, ge=0, le=10_000)
    """For pix2pix: weight of the L1 loss (mean absolute error)."""
    direction: Direction = Direction.A2B
    """For pix2pix: direction to learn."""
    max_minutes: float | None = Field(default=None, gt=0, examples=[60.0])
    """Training time budget in minutes. Evaluation and export of the models come on top."""
    epochs: int | None = Field(default=None, ge=1, le=100_000, examples=[200])
    """Passes over the images of the larger domain, instead of `max_minutes`; equal seeds then give equal translators on
    equal machines. 200 if neither is given."""
    batch_size: int = Field(default=1, ge=1, le=64)
    """Images per domain and step."""
    learning_rate: float = Field(default=2e-4, gt=0, le=0.1)
    """Learning rate of Adam: constant for the first half of training, then linear decay to 0."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed."""
    serving_precision: ServingPrecision = ServingPrecision.EXACT
    """Which engines may serve the trained generators: `fast` allows bfloat16, several times as fast on processors with
    AMX, with differences of a few pixel values."""
    resume_from_id: str | None = Field(default=None, examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a translator that was trained here, to resume training from: generators, discriminators and optimizers. The
    architecture is then that of this translator."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["dusk to day"])
    """Name of the translator; by default derived from the name of the dataset."""

    @property
    def kind(self) -> GeneratorKind:
        """Architecture of the generators, or its default."""
        if self.generator is not None:
            return self.generator
        return GeneratorKind.UNET if self.method is TranslationMethod.PIX2PIX else GeneratorKind.RESNET

    @property
    def blocks(self) -> int:
        """Number of residual blocks, or its default."""
        return self.residual_blocks or residual_blocks_at(self.image_size)

    @property
    def directions(self) -> list[Direction]:
        """Directions that are trained."""
        return list(Direction) if self.method is TranslationMethod.CYCLEGAN else [self.direction]

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The referenced datasets, model and translator, by field."""
        named = {"dataset_id": references.dataset(self.dataset_id)}
        if self.evaluation_dataset_id is not None:
            named["evaluation_dataset_id"] = references.dataset(self.evaluation_dataset_id)
        if self.features is not None:
            named["features.model_id"] = references.model(self.features.model_id)
        if self.resume_from_id is not None:
            named["resume_from_id"] = references.translator(self.resume_from_id)
        return named


class UploadedGenerators(Contract):
    """Request to make a translator from one or two uploaded generators."""

    a2b_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the generator that translates from domain A to B."""
    b2a_id: str | None = Field(default=None, examples=["mdl_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the generator that translates from domain B to A."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["dusk to day"])
    """Name of the translator; by default derived from the names of the models."""

    @property
    def models(self) -> dict[Direction, str]:
        """Ids of the given models, by direction."""
        given = {Direction.A2B: self.a2b_id, Direction.B2A: self.b2a_id}
        return {direction: id for direction, id in given.items() if id is not None}


def _form(value: Any) -> str:
    fields = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return "uploaded" if "method" not in fields and ("a2b_id" in fields or "b2a_id" in fields) else "training"


TranslatorRequest = Annotated[
    Annotated[TranslatorTraining, Tag("training")] | Annotated[UploadedGenerators, Tag("uploaded")],
    Discriminator(_form),
]
"""Request to make a translator: training on a dataset, or uploaded generators (`a2b_id`, `b2a_id`)."""


class _TranslatorBase(Contract):
    id: str = Field(examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["dusk to day"])
    """Name."""
    created_at: Timestamp
    """Time of creation; for a translator in training, time of the request."""
    settings: TranslatorTraining | None = None
    """Training request, including defaults; null for uploaded generators."""
    job_id: str | None = Field(default=None, examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the training job; null for uploaded generators."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""
    actions: dict[str, str] = Field(
        default_factory=dict, examples=[{"translate": "/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z/translate"}]
    )
    """URLs to POST to: `translate`."""


class GeneratorSizes(Contract):
    """Image sizes that an uploaded generator takes."""

    sizes: Literal["any", "fixed"]
    """`any`: images are translated at their own size. `fixed`: they are resized to `size` and back."""
    size: list[int] | None = Field(default=None, examples=[[256, 256]])
    """The only height and width it takes, pixels; null for `any`."""
    multiple: int = Field(examples=[4])
    """Heights and widths are padded to a multiple of this; 1 for `fixed`."""
    opened: bool
    """Whether it was exported at one size and opened to any. At its own size it gives what it gave before."""
    reason: str | None = Field(
        default=None, examples=["Gemm 'fc' takes no other size: its inputs would be [1, 24576] and [12288, 4096]"]
    )
    """Why it keeps its size; null for `any`."""


class Translator(_TranslatorBase, StoredRecord):
    """A translator that is ready for use."""

    status: Literal["ready"] = "ready"
    """Always `ready`: it can translate."""
    sha256: Sha256
    """SHA-256 of the archive; for a trained translator it has the last checkpoint, samples and curves."""
    bytes: int = Field(examples=[182_340_112])
    """Size of the archive in bytes."""
    model_ids: dict[Direction, str] = Field(examples=[{"a2b": "mdl_4x8k2m9q0v7r3t6w1y5z"}])
    """Ids of the generators, which are ordinary models."""
    model_sha256: dict[Direction, Sha256]
    """SHA-256 of the generators' files."""
    generator_sizes: dict[Direction, GeneratorSizes] = Field(default_factory=dict)
    """Image sizes of uploaded generators, by direction; empty for trained ones, which take any."""
    training: TrainingRecord | None = None
    """Training record; null for uploaded generators."""
    evaluation: dict[Direction, DirectionEvaluation] = Field(default_factory=dict)
    """Quality of the translations, by direction; empty for uploaded generators."""
    warnings: list[str] = Field(
        default_factory=list,
        examples=[["The evaluation used images of the training set. Set `evaluation_dataset_id` to other images."]],
    )
    """What a reader should know."""
    provenance: Provenance | None = None
    """Everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Further files by name, such as `samples.png` and `curves.png`; download one from `…/files/{name}`."""

    @property
    def directions(self) -> list[Direction]:
        """Directions for which there is a generator."""
        return list(self.model_ids)


class TranslatorInTraining(_TranslatorBase):
    """A translator that is not ready: its job is queued or running, or it failed or was canceled."""

    settings: TranslatorTraining
    """Training request, including defaults."""
    job_id: str = Field(examples=["job_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the training job."""
    status: Literal[JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELED]
    """Status of the training job."""
    progress: Progress | None = None
    """Progress of the training job."""
    checkpoint: bool = False
    """Whether there is a checkpoint; `?checkpoint=latest` translates with it."""
    error: Problem | None = None
    """Error of the job, if it failed."""

    @property
    def directions(self) -> list[Direction]:
        """Directions that are trained."""
        return self.settings.directions


class TranslatorSummary(Contract):
    """Translator as an item of a list."""

    id: str = Field(examples=["trl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["dusk to day"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    method: TranslationMethod | None = None
    """Training method; null for uploaded generators."""
    model_ids: dict[Direction, str] = Field(examples=[{"a2b": "mdl_4x8k2m9q0v7r3t6w1y5z"}])
    """Ids of the generators."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/translators/trl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""

    @classmethod
    def of(cls, translator: Translator) -> Self:
        """Return the summary of a translator."""
        return cls(
            id=translator.id,
            name=translator.name,
            created_at=translator.created_at,
            method=None if translator.training is None else translator.training.method,
            model_ids=translator.model_ids,
        )


class TranslatorFilter(Contract):
    """Filter of the list of translators."""

    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["dusk"])
    """Only translators whose name contains this text; case is ignored."""
    method: TranslationMethod | None = None
    """Only translators trained with this method."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only translators with this model as a generator."""

    def matches(self, translator: Translator) -> bool:
        """Return whether a translator matches the filter."""
        return (
            name_contains(self.name, translator.name)
            and (self.method is None or (translator.training is not None and translator.training.method is self.method))
            and (self.model_id is None or self.model_id in translator.model_ids.values())
        )

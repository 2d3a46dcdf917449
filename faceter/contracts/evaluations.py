"""Evaluations: grading of generated samples against real ones."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field

from faceter.contracts import references
from faceter.contracts.base import (
    Contract,
    Page,
    Provenance,
    Sha256,
    StoredFile,
    StoredRecord,
    Timestamp,
    message_if_invalid,
    name_contains,
)
from faceter.contracts.input_shapes import InputShapes
from faceter.contracts.metrics import Metric
from faceter.contracts.references import ResourceReference

LEAST_SAMPLES = 6
"""Minimum samples per set: two metrics use the 4 nearest neighbours of a sample in its own set, and one more."""


Neighbour = Annotated[int, Field(ge=1, le=1000)]


Neighbours = Annotated[
    Neighbour | Annotated[list[Neighbour], Field(min_length=1, max_length=50)],
    message_if_invalid("must be a whole number from 1 to 1000, or a list of 1 to 50 of them"),
]


class FeatureSource(Contract):
    """Feature extractor for images or signals: a model and one of its tensors."""

    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of an uploaded model. It should be trained on similar data; otherwise its features respond
    to irrelevant differences."""
    tensor: str = Field(min_length=1, max_length=1000, examples=["avgpool"])
    """Name of any of its tensors, see `…/graph`: [N, D], or [N, D, …], which is averaged over the axes after D
    (one value per channel of a feature map). Usually the last tensor before the classification layer."""
    input_shapes: InputShapes | None = Field(default=None, examples=[{"image": [1, 3, 224, 224]}])
    """Shapes to run the model at, by input, for sizes that the file leaves open; by default those of its metadata."""


class EvaluationRequest(Contract):
    """Request to grade generated samples against real ones."""

    reference_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset of real samples: `images`, `signals` or `features`."""
    generated_id: str = Field(examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the dataset of generated samples, of the same kind."""
    metrics: Annotated[list[Metric], Field(min_length=1)] | None = Field(
        default=None, examples=[["density", "coverage", "fid"]]
    )
    """Metrics to compute; by default all that apply (`inception_score` only with a `classifier_id`)."""
    k: Neighbours = Field(default=5, examples=[5, [3, 5, 10]])
    """The radius of a ball is the distance to the k-th nearest neighbour. In a list, the first value is used for
    `metrics` and all values for `sweep`; further values take little extra time."""
    features: FeatureSource | None = None
    """For images and signals: feature extractor. Not allowed for datasets of kind `features`."""
    classifier_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """For the inception score: id of a classifier whose output is class probabilities or logits."""
    per_class: bool = False
    """Whether to also grade each class that both datasets have on its own."""
    bootstrap: int = Field(default=0, ge=0, le=10_000, examples=[200])
    """Number of bootstrap replicates for confidence intervals; 0 for no intervals."""
    subsample: int | None = Field(default=None, ge=1, examples=[10000])
    """Maximum number of samples per set, drawn at random; by default all samples are used."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed of all random draws; equal seeds give equal results."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["gan, epoch 40"])
    """Name of the evaluation; by default derived from the names of the datasets."""

    @property
    def ks(self) -> list[int]:
        """Distinct values of k, that of `metrics` first."""
        return list(dict.fromkeys(self.k if isinstance(self.k, list) else [self.k]))

    @property
    def selected_metrics(self) -> list[Metric]:
        """The requested metrics, or by default all that apply."""
        if self.metrics is not None:
            return list(dict.fromkeys(self.metrics))
        return [metric for metric in Metric if metric is not Metric.INCEPTION_SCORE or self.classifier_id is not None]

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The referenced datasets and models, by field."""
        named = {
            "reference_id": references.dataset(self.reference_id),
            "generated_id": references.dataset(self.generated_id),
        }
        if self.features is not None:
            named["features.model_id"] = references.model(self.features.model_id)
        if self.classifier_id is not None:
            named["classifier_id"] = references.model(self.classifier_id)
        return named


class MetricValue(Contract):
    """Value of a metric."""

    value: float = Field(examples=[0.97])
    """Value."""
    expected: float | None = Field(default=None, examples=[0.969])
    """For density and coverage: expected value if both sets come from the same distribution, at this N, M and k."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None, examples=[[0.961, 0.978]]
    )
    """With `bootstrap`: 95 % confidence interval. Radii are fixed (not recomputed in each replicate), so
    the interval covers the uncertainty from the samples over which the metric is averaged."""
    deviation: float | None = Field(default=None, examples=[0.0004])
    """For kid and inception_score: standard deviation over subsets or splits; null if there is only one."""
    seconds: float = Field(examples=[2.1])
    """Computation time. Metrics computed from distances share one computation; each reports its total time."""
    meaning: str = Field(examples=["share of real samples in whose ball there is a generated one"])
    """What the metric measures."""


class SweepPoint(Contract):
    """Metric values at one k."""

    k: int = Field(examples=[5])
    """The radius is the distance to the k-th nearest neighbour."""
    values: dict[str, float] = Field(examples=[{"density": 0.98, "coverage": 0.97}])
    """Value by metric; only metrics that depend on k."""
    expected: dict[str, float] = Field(examples=[{"density": 1.0, "coverage": 0.969}])
    """Expected density and coverage if both sets come from the same distribution."""


class ClassValues(Contract):
    """Metric values of one class."""

    label: str = Field(examples=["cat"])
    """Name of the class."""
    reference_samples: int = Field(examples=[1000])
    """N, real samples of this class."""
    generated_samples: int = Field(examples=[1000])
    """M, generated samples of this class."""
    values: dict[str, float] = Field(examples=[{"density": 0.98, "coverage": 0.97}])
    """Value by metric; empty if a set has too few samples of the class."""
    expected: dict[str, float] = Field(default_factory=dict, examples=[{"density": 1.0, "coverage": 0.969}])
    """Expected density and coverage if both sets come from the same distribution."""


class FeatureDescription(Contract):
    """Feature space of an evaluation and the datasets of its features."""

    source: Literal["dataset", "model"]
    """Whether the features were uploaded as datasets or computed by a model."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model; null for uploaded features."""
    model_sha256: Sha256 | None = None
    """SHA-256 of the model file."""
    tensor: str | None = Field(default=None, examples=["avgpool"])
    """Tensor of the model."""
    dimensions: int = Field(examples=[64])
    """D, number of features per sample."""
    reference_features_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset with the features of the real samples; it can be reused and downloaded."""
    generated_features_id: str = Field(examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the dataset with the features of the generated samples."""


class Shown(StrEnum):
    """Selections of samples to inspect."""

    OUTSIDE = "outside"
    """Generated samples in no real ball, sorted by distance to the nearest real sample, largest first."""
    UNCOVERED = "uncovered"
    """Real samples whose ball contains no generated sample, sorted by distance to the nearest one, largest first."""
    DENSEST = "densest"
    """Generated samples sorted by the number of real balls they are in, largest first."""
    CLOSEST = "closest"
    """Generated samples sorted by distance to the nearest real sample, smallest first; copies come first."""


class EvaluationSample(Contract):
    """One sample and its nearest neighbour in the other set."""

    set: Literal["reference", "generated"]
    """Set of the sample."""
    index: int = Field(examples=[4711])
    """Position in the dataset, from 0."""
    name: str | None = Field(default=None, examples=["cat/00042.png"])
    """For images: name in the archive."""
    label: str | None = Field(default=None, examples=["cat"])
    """Class, if labelled."""
    balls: int = Field(examples=[7])
    """For a generated sample: number of real balls it is in. For a real sample: number of generated samples in its
    ball."""
    distance: float = Field(examples=[3.7])
    """Distance to the nearest sample of the other set."""
    nearest_index: int = Field(examples=[42])
    """Position of the nearest sample in its dataset."""
    nearest_name: str | None = Field(default=None, examples=["cat/00017.png"])
    """For images: name of the nearest sample in its archive."""


class SamplePage(Page[EvaluationSample]):
    """Page of samples to inspect."""

    which: Shown
    """The selection."""
    total: int = Field(examples=[312])
    """Number of samples in the selection."""


class Evaluation(StoredRecord):
    """Grading of generated samples against real ones."""

    id: str = Field(examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["gan, epoch 40"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of `…/content`: nearest neighbour in the other set and number of balls, for each sample."""
    bytes: int = Field(examples=[812345])
    """Size of `…/content` in bytes."""
    settings: EvaluationRequest
    """Settings of the request, including defaults."""
    reference_sha256: Sha256
    """SHA-256 of the file of the real samples."""
    generated_sha256: Sha256
    """SHA-256 of the file of the generated samples."""
    reference_samples: int = Field(examples=[10000])
    """N, number of real samples used. Values at different N or M are not comparable."""
    generated_samples: int = Field(examples=[10000])
    """M, number of generated samples used."""
    k: int = Field(examples=[5])
    """k of `metrics`."""
    features: FeatureDescription
    """Feature space in which samples were compared."""
    metrics: dict[Metric, MetricValue]
    """Values by metric."""
    sweep: list[SweepPoint] = Field(default_factory=list)
    """Values at each requested k."""
    per_class: list[ClassValues] = Field(default_factory=list)
    """With `per_class`: values of each class."""
    shown: dict[Shown, int] = Field(default_factory=dict, examples=[{"outside": 312, "uncovered": 508}])
    """Number of samples in each selection of `…/samples?which=`."""
    warnings: list[str] = Field(
        default_factory=list, examples=[["FID is biased upwards at N = 2,000: compare it at equal N and M only."]]
    )
    """What a reader of these values should know."""
    seconds: float = Field(examples=[14.2])
    """Run time of the job."""
    provenance: Provenance | None = None
    """Everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Plots and contact sheets by name, such as `map.png`; download one from `…/files/{name}`."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""


class EvaluationSummary(Contract):
    """Evaluation as an item of a list."""

    id: str = Field(examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["gan, epoch 40"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    reference_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset of real samples."""
    generated_id: str = Field(examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the dataset of generated samples."""
    reference_samples: int = Field(examples=[10000])
    """N, number of real samples used."""
    generated_samples: int = Field(examples=[10000])
    """M, number of generated samples used."""
    k: int = Field(examples=[5])
    """k of `values`."""
    dimensions: int = Field(examples=[64])
    """D, number of features per sample."""
    tensor: str | None = Field(default=None, examples=["avgpool"])
    """Tensor that gives the features; null for uploaded features."""
    values: dict[Metric, float] = Field(examples=[{"density": 0.98, "coverage": 0.97}])
    """Value by metric."""
    differs: list[str] = Field(default_factory=list, examples=[["generated_samples"]])
    """Properties that differ from the first evaluation of the page and must be equal for values to be comparable;
    empty if they are comparable."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""

    @classmethod
    def of(cls, evaluation: Evaluation) -> Self:
        """Return the summary of an evaluation."""
        return cls(
            id=evaluation.id,
            name=evaluation.name,
            created_at=evaluation.created_at,
            reference_id=evaluation.settings.reference_id,
            generated_id=evaluation.settings.generated_id,
            reference_samples=evaluation.reference_samples,
            generated_samples=evaluation.generated_samples,
            k=evaluation.k,
            dimensions=evaluation.features.dimensions,
            tensor=evaluation.features.tensor,
            values={metric: result.value for metric, result in evaluation.metrics.items()},
        )


def _check_order(sort: str) -> str:
    if sort.removeprefix("-") not in list(Metric):
        raise ValueError(f"must be the name of a metric, or - and the name: {', '.join(Metric)}")
    return sort


class EvaluationFilter(Contract):
    """Filter and order of the list of evaluations."""

    reference_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Only evaluations with this dataset of real samples."""
    generated_id: str | None = Field(default=None, examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Only evaluations with this dataset of generated samples."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["gan"])
    """Only evaluations whose name contains this text; case is ignored."""
    sort: Annotated[str, AfterValidator(_check_order)] | None = Field(default=None, examples=["fid", "-density"])
    """Metric to sort by: ascending by its name (`fid`), descending with `-` before the name (`-density`).
    Evaluations without the metric come last. By default, newest first."""

    def matches(self, evaluation: Evaluation) -> bool:
        """Return whether an evaluation matches the filter."""
        return (
            name_contains(self.name, evaluation.name)
            and (self.reference_id is None or evaluation.settings.reference_id == self.reference_id)
            and (self.generated_id is None or evaluation.settings.generated_id == self.generated_id)
        )

"""Evaluations: grading what a generative model produces against real samples."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from faceter.contracts.base import Contract, Page, Provenance, Sha256, StoredFile, Timestamp, in_one_sentence

LEAST_SAMPLES = 6
"""Fewest samples of a set: two of the metrics look at 4 neighbours of each within its set, and at what lies beyond."""


class Metric(StrEnum):
    """A way to grade generated samples."""

    DENSITY = "density"
    """Fidelity: how many real balls a generated sample lies in, over k (Naeem et al. 2020). May exceed 1."""
    COVERAGE = "coverage"
    """Diversity: share of real samples in whose ball there is a generated one (Naeem et al. 2020)."""
    PRECISION = "precision"
    """Share of generated samples in any real ball (Kynkäänniemi et al. 2019). One real outlier, whose ball is wide,
    raises it: read density beside it."""
    RECALL = "recall"
    """Share of real samples in any generated ball (Kynkäänniemi et al. 2019). Generated outliers raise it, so a bad
    model may have much of it: read coverage beside it."""
    CLIPPED_DENSITY = "clipped_density"
    """Fidelity that reads as the share of good generated samples (Salvy et al. 2026)."""
    CLIPPED_COVERAGE = "clipped_coverage"
    """Diversity that reads as the share of good samples that cover as much (Salvy et al. 2026)."""
    P_PRECISION = "p_precision"
    """Precision in which a sample counts the less the farther it is from real ones (Park, Kim 2023)."""
    P_RECALL = "p_recall"
    """Recall of that kind (Park, Kim 2023)."""
    AUTHENTICITY = "authenticity"
    """Share of generated samples that are no copies: farther from the nearest real one than that is from any other
    (Alaa et al. 2022)."""
    FID = "fid"
    """Fréchet distance of two normal distributions with the sets' means and covariances (Heusel et al. 2017)."""
    KID = "kid"
    """Unbiased kernel distance, cubic kernel (Bińkowski et al. 2018); may lie below 0."""
    INCEPTION_SCORE = "inception_score"
    """How sure a classifier is of each generated sample, and how many classes there are among all (Salimans et al.
    2016). Needs `classifier_id`; the real samples play no part."""

    @property
    def smaller_is_better(self) -> bool:
        """Whether 0 is best."""
        return self in (self.FID, self.KID)

    @property
    def by_distances(self) -> bool:
        """Whether it comes from nearest neighbours, and so depends on k or on a fixed number of them."""
        return self not in (self.FID, self.KID, self.INCEPTION_SCORE)


Neighbour = Annotated[int, Field(ge=1, le=1000)]


Neighbours = Annotated[
    Neighbour | Annotated[list[Neighbour], Field(min_length=1, max_length=50)],
    in_one_sentence("must be a whole number from 1 to 1000, or a list of 1 to 50 of them"),
]


class FeatureSource(Contract):
    """Where features of images or signals come from."""

    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of an uploaded model. It should know such data: one that does not tells apart what does not matter."""
    tensor: str = Field(min_length=1, max_length=1000, examples=["avgpool"])
    """Name of any of its tensors, as `…/graph` lists them; [N, D], or [N, D, …] which is averaged over what follows
    (so a spatial map gives one value a channel). Usual is the last before the classes."""


class EvaluationRequest(Contract):
    """What to grade against what."""

    reference_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset of real samples: `images`, `signals` or `features`."""
    generated_id: str = Field(examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the dataset of generated samples, of the same kind."""
    metrics: Annotated[list[Metric], Field(min_length=1)] | None = Field(
        default=None, examples=[["density", "coverage", "fid"]]
    )
    """Which metrics; all that apply if not given (`inception_score` where there is a `classifier_id`)."""
    k: Neighbours = Field(default=5, examples=[5, [3, 5, 10]])
    """Which neighbour's distance is the radius of a ball. Of a list the first is that of `metrics`; all are in
    `sweep`, which costs next to nothing."""
    features: FeatureSource | None = None
    """For images and signals: which model and tensor describe them. Not for datasets of `features`."""
    classifier_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """For the inception score: id of a model whose output is probabilities or logits of classes."""
    per_class: bool = False
    """Whether to grade each class that both datasets have by itself, too."""
    bootstrap: int = Field(default=0, ge=0, le=10_000, examples=[200])
    """How many times to draw the samples anew, for intervals; 0 for none."""
    subsample: int | None = Field(default=None, ge=1, examples=[10000])
    """Most samples of each set to take, drawn at random; all if not given."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed of what is drawn; equal seeds give equal results."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["gan, epoch 40"])
    """What to call it; made from the names of the datasets if not given."""

    @property
    def ks(self) -> list[int]:
        """Every k, the main one first, none twice."""
        return list(dict.fromkeys(self.k if isinstance(self.k, list) else [self.k]))

    @property
    def wanted(self) -> list[Metric]:
        """The metrics: those asked for, else all that apply."""
        if self.metrics is not None:
            return list(dict.fromkeys(self.metrics))
        return [metric for metric in Metric if metric is not Metric.INCEPTION_SCORE or self.classifier_id is not None]

    @property
    def uses(self) -> list[str]:
        """Ids of the datasets and models it reads."""
        models = [self.features.model_id if self.features else None, self.classifier_id]
        return list(dict.fromkeys([self.reference_id, self.generated_id, *(id for id in models if id is not None)]))


class MetricValue(Contract):
    """What a metric came to."""

    value: float = Field(examples=[0.97])
    """The value."""
    expected: float | None = Field(default=None, examples=[0.969])
    """For density and coverage: its expectation if both sets came from one distribution, at this N, M and k."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None = Field(
        default=None, examples=[[0.961, 0.978]]
    )
    """With `bootstrap`: the middle 95 % of its values over samples drawn anew. Balls are held as they are, so it is
    the uncertainty that comes from the samples a metric is a mean of."""
    deviation: float | None = Field(default=None, examples=[0.0004])
    """For kid and inception_score: the deviation between subsets or parts."""
    seconds: float = Field(examples=[2.1])
    """How long it took; those that come from distances share their time, which each of them tells."""
    meaning: str = Field(examples=["share of real samples in whose ball there is a generated one"])
    """What it is, in words."""


class SweepPoint(Contract):
    """The values at one k."""

    k: int = Field(examples=[5])
    """Which neighbour's distance is the radius."""
    values: dict[str, float] = Field(examples=[{"density": 0.98, "coverage": 0.97}])
    """By metric; only those that depend on k."""
    expected: dict[str, float] = Field(examples=[{"density": 1.0, "coverage": 0.969}])
    """Of density and coverage, if both sets came from one distribution."""


class ClassValues(Contract):
    """The values of one class by itself."""

    label: str = Field(examples=["cat"])
    """The class."""
    reference_samples: int = Field(examples=[1000])
    """N of this class."""
    generated_samples: int = Field(examples=[1000])
    """M of this class."""
    values: dict[str, float] = Field(examples=[{"density": 0.98, "coverage": 0.97}])
    """By metric; empty where a set has too few samples of the class."""
    expected: dict[str, float] = Field(default_factory=dict, examples=[{"density": 1.0, "coverage": 0.969}])
    """Of density and coverage, if both sets came from one distribution."""


class FeatureDescription(Contract):
    """What samples were compared by."""

    source: Literal["dataset", "model"]
    """Whether the user brought the features, or a model made them."""
    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model."""
    model_sha256: Sha256 | None = None
    """SHA-256 of its file."""
    tensor: str | None = Field(default=None, examples=["avgpool"])
    """The tensor."""
    dimensions: int = Field(examples=[64])
    """D, values of each sample."""
    reference_features_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The dataset of features of the real samples: kept, to be used again and downloaded."""
    generated_features_id: str = Field(examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """Of the generated ones."""


class Shown(StrEnum):
    """Samples worth looking at."""

    OUTSIDE = "outside"
    """Generated samples in no real ball, those farthest from any real sample first."""
    UNCOVERED = "uncovered"
    """Real samples in whose ball there is no generated one, those farthest from any first."""
    DENSEST = "densest"
    """Generated samples in most real balls, those in most first."""
    CLOSEST = "closest"
    """Generated samples by their distance to the nearest real one, the smallest first: copies are on top."""


class EvaluationSample(Contract):
    """One sample, and the one of the other set that is nearest to it."""

    set: Literal["reference", "generated"]
    """Which set it is of."""
    index: int = Field(examples=[4711])
    """Its position in the dataset, from 0."""
    name: str | None = Field(default=None, examples=["cat/00042.png"])
    """Its name in the archive, for images."""
    label: str | None = Field(default=None, examples=["cat"])
    """Its class, if it has one."""
    balls: int = Field(examples=[7])
    """Of a generated sample: in how many real balls it lies. Of a real one: how many generated samples lie in its."""
    distance: float = Field(examples=[3.7])
    """How far it is from the nearest sample of the other set."""
    nearest_index: int = Field(examples=[42])
    """That one's position in its dataset."""
    nearest_name: str | None = Field(default=None, examples=["cat/00017.png"])
    """Its name, for images."""


class SamplePage(Page[EvaluationSample]):
    """Some of the samples worth looking at."""

    which: Shown
    """What is shown."""
    total: int = Field(examples=[312])
    """How many such samples there are."""


class Evaluation(Contract):
    """How generated samples compare with real ones."""

    id: str = Field(examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["gan, epoch 40"])
    """What it is called."""
    created_at: Timestamp
    """When it was made."""
    sha256: Sha256
    """SHA-256 of `…/content`: for each sample its nearest of the other set, and how many balls."""
    bytes: int = Field(examples=[812345])
    """Size of that file."""
    settings: EvaluationRequest
    """The request, defaults filled in."""
    reference_sha256: Sha256
    """SHA-256 of the file of the real samples."""
    generated_sha256: Sha256
    """SHA-256 of the file of the generated samples."""
    reference_samples: int = Field(examples=[10000])
    """N, real samples compared. A value at another N or M is not comparable."""
    generated_samples: int = Field(examples=[10000])
    """M, generated samples compared."""
    k: int = Field(examples=[5])
    """The k of `metrics`."""
    features: FeatureDescription
    """Which features samples were compared by, and where they come from."""
    metrics: dict[Metric, MetricValue]
    """By name."""
    sweep: list[SweepPoint] = Field(default_factory=list)
    """The values at every k asked for."""
    per_class: list[ClassValues] = Field(default_factory=list)
    """With `per_class`: each class by itself."""
    shown: dict[Shown, int] = Field(default_factory=dict, examples=[{"outside": 312, "uncovered": 508}])
    """How many samples `…/samples?which=` has of each sort."""
    warnings: list[str] = Field(
        default_factory=list, examples=[["FID is biased upwards at N = 2,000: compare it at equal N and M only."]]
    )
    """What could mislead a reader of these values."""
    seconds: float = Field(examples=[14.2])
    """How long the job worked on it."""
    provenance: Provenance | None = None
    """Everything needed to make it again."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Plots and contact sheets by name, such as `map.png`; `…/files/{name}` downloads one."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""


class EvaluationSummary(Contract):
    """An evaluation as lists show it."""

    id: str = Field(examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["gan, epoch 40"])
    """What it is called."""
    created_at: Timestamp
    """When it was made."""
    reference_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The real samples."""
    generated_id: str = Field(examples=["dts_7c1m5w9q3v0r8t2x6y4z"])
    """The generated samples."""
    reference_samples: int = Field(examples=[10000])
    """N."""
    generated_samples: int = Field(examples=[10000])
    """M."""
    k: int = Field(examples=[5])
    """The k of `values`."""
    dimensions: int = Field(examples=[64])
    """D."""
    tensor: str | None = Field(default=None, examples=["avgpool"])
    """The tensor that features are from."""
    values: dict[Metric, float] = Field(examples=[{"density": 0.98, "coverage": 0.97}])
    """By metric."""
    differs: list[str] = Field(default_factory=list, examples=[["generated_samples"]])
    """In what it differs from the first of the page, of what must be equal for values to be compared; empty if they
    can be."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/evaluations/evl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""


class Compared(Contract):
    """A metric of two evaluations."""

    value: float = Field(examples=[0.97])
    """Of the one."""
    other: float = Field(examples=[0.91])
    """Of the other."""
    difference: float = Field(examples=[0.06])
    """`value` − `other`."""
    better: bool | None = Field(examples=[True])
    """Whether the one is better; null where there is no telling, as for a density above 1, or their intervals
    overlap."""


class EvaluationComparison(Contract):
    """Two evaluations side by side."""

    evaluation_id: str = Field(examples=["evl_4x8k2m9q0v7r3t6w1y5z"])
    """The one."""
    other_id: str = Field(examples=["evl_7c1m5w9q3v0r8t2x6y4z"])
    """The other."""
    comparable: bool
    """Whether reference, features, N, M and k agree, without which values cannot be compared."""
    differences: dict[str, list[Any]] = Field(examples=[{"generated_samples": [10000, 5000]}])
    """Where they do not agree: both."""
    metrics: dict[Metric, Compared] = Field(default_factory=dict)
    """The metrics both have; none if they cannot be compared."""


COMPARED_BY = ("reference", "features", "reference_samples", "generated_samples", "k")
"""What must be equal for the values of two evaluations to be compared."""


def comparison_key(evaluation: Evaluation) -> dict[str, Any]:
    """Return what must be equal for values to be compared, by the names of `COMPARED_BY`."""
    features = evaluation.features
    made_by = "as uploaded" if features.source == "dataset" else f"{features.tensor} of {features.model_sha256}"
    found = (
        evaluation.reference_sha256,
        made_by,
        evaluation.reference_samples,
        evaluation.generated_samples,
        evaluation.k,
    )
    return dict(zip(COMPARED_BY, found, strict=True))

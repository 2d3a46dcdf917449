"""Analyses of an explanation: kinds of formulas, whether they matter, how to use them, how they drift."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from faceter.contracts.base import Contract, Provenance, Sha256, StoredFile, Timestamp

AnalysisKind = Literal["abstractions", "interpretability", "copy_paste", "drift"]
"""What can be analysed."""


class AbstractionsRequest(Contract):
    """Sort formulas by what kind of abstraction they are."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["abstractions"] = "abstractions"
    """What is analysed."""
    taxonomy: dict[str, list[str]] | None = Field(
        default=None, examples=[{"vehicle": ["car", "bicyclist"], "ground": ["road", "pavement"]}]
    )
    """Names of concepts by group, as formulas write them (`car`, `hyp:tok:dog`): those of one group are related."""
    embedding: dict[str, list[float]] | None = Field(default=None, examples=[{"car": [0.1, 0.9], "road": [0.2, 0.8]}])
    """A vector for each concept: those whose cosine is at least `related_from` are related. For text pairs the vectors
    of the dataset are taken if there are any and neither this nor `taxonomy` is given."""
    related_from: float = Field(default=0.4, ge=-1, le=1)
    """The least cosine of related concepts."""
    together_from: float = Field(default=0.0, examples=[0.0])
    """Concepts go together if they are in the same samples more often than chance, or in every sample: if their
    pointwise mutual information over samples, in nats, is at least this."""


class InterpretabilityRequest(Contract):
    """See whether units that are explained well are those with which the model is right."""

    kind: Literal["interpretability"] = "interpretability"
    """What is analysed."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a labelled dataset to count on: `images` for a classifier of images, `detection` for a detector, whose
    recall of boxes is then taken. The explanation's own if not given, which must be labelled."""
    min_samples: int = Field(default=10, ge=2)
    """Units that fire in fewer samples (boxes) are left out."""


class CopyPasteRequest(Contract):
    """Change inputs by what formulas say, and see whether predictions follow."""

    kind: Literal["copy_paste"] = "copy_paste"
    """What is analysed."""
    label: str = Field(min_length=1, max_length=200, examples=["contradiction"])
    """The class to bring about."""
    units: int = Field(default=10, ge=1, le=100)
    """How many units of the highest weight to the class, and of the lowest, to read formulas of. Where there are no
    weights (detectors), units go with a class by the correlation of their firing with its score. Images are only
    added to: units of the lowest weight are for text."""
    tries: int = Field(default=200, ge=10, le=10_000)
    """How many inputs to change, and as many with random concepts beside them."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed; equal seeds give equal results."""


class DriftRequest(Contract):
    """See what became of each unit in models made from this one."""

    kind: Literal["drift"] = "drift"
    """What is analysed."""
    model_ids: Annotated[list[str], Field(min_length=1, max_length=16)] = Field(examples=[["mdl_7c1m5w9q3v0r8t2x6y4z"]])
    """Ids of the models: of one origin with the explained one, such as its quantized ones, and with layers of the same
    names."""


AnalysisRequest = Annotated[
    AbstractionsRequest | InterpretabilityRequest | CopyPasteRequest | DriftRequest, Field(discriminator="kind")
]
"""What to analyse."""


class Abstraction(StrEnum):
    """What kind of abstraction a formula is (Mu & Andreas 2020, section 5)."""

    SINGLE = "single"
    """One concept."""
    COHERENT = "lexically_coherent"
    """Either of several things that are related in meaning: `car OR bus`."""
    INCOHERENT = "lexically_incoherent"
    """Either of several things that are not related in meaning but go together in the data, and so may look alike to
    the model: `road OR car`."""
    SPECIALIZED = "specialized"
    """Something narrowed down by AND or AND NOT: `road AND NOT dusk`."""
    POLYSEMANTIC = "polysemantic"
    """Either of several things that have nothing to do with each other."""


class UnitAbstraction(Contract):
    """What kind of abstraction a unit's formula is."""

    layer: str = Field(examples=["relu_12"])
    """The tensor."""
    unit: int = Field(examples=[17])
    """The unit."""
    formula: str = Field(examples=["(car OR road) AND NOT dusk"])
    """Its formula."""
    score: float = Field(examples=[0.31])
    """Its IoU."""
    kind: Abstraction
    """The kind."""


class AbstractionsResult(Contract):
    """Formulas by kind."""

    kind: Literal["abstractions"] = "abstractions"
    """What was analysed."""
    by: Literal["taxonomy", "embedding", "vectors", "cooccurrence"]
    """What relatedness was told by; by `cooccurrence` alone nothing is told of meaning, so that what goes together
    counts as lexically coherent."""
    shares: dict[Abstraction, float] = Field(examples=[{"specialized": 0.7, "polysemantic": 0.1}])
    """Share of formulas of each kind."""
    units: list[UnitAbstraction]
    """Every explained unit."""
    unknown: list[str] = Field(default_factory=list, examples=[["dusk"]])
    """Concepts that the taxonomy or embedding does not have; they are related to nothing."""


class Correlation(Contract):
    """Accuracy against IoU over units, at one maximum length of formulas."""

    length: int = Field(examples=[3])
    """Most concepts of a formula."""
    units: int = Field(examples=[187])
    """How many units."""
    r: float | None = Field(examples=[-0.18])
    """Pearson's correlation; null where one of the two does not vary."""
    p: float | None = Field(examples=[0.012])
    """Its two-sided p-value, if there were no correlation."""


class UnitAccuracy(Contract):
    """How right the model is where a unit fires."""

    layer: str = Field(examples=["relu_12"])
    """The tensor."""
    unit: int = Field(examples=[17])
    """The unit."""
    samples: int = Field(examples=[412])
    """In how many labelled samples (boxes) it fires."""
    accuracy: float = Field(examples=[0.83])
    """Share of these that the model gets right: accuracy of a classifier, recall of a detector."""
    score: float = Field(examples=[0.31])
    """IoU of its formula."""


class InterpretabilityResult(Contract):
    """Whether interpretable units are the ones with which the model is right."""

    kind: Literal["interpretability"] = "interpretability"
    """What was analysed."""
    of: Literal["accuracy", "recall"]
    """What is told of each unit."""
    overall: float = Field(examples=[0.79])
    """The same of all samples (boxes)."""
    correlations: list[Correlation]
    """At each maximum length."""
    units: list[UnitAccuracy]
    """Every unit that fires often enough."""


class Edit(Contract):
    """A change that was tried."""

    index: int = Field(examples=[1204])
    """Position of the sample in the dataset."""
    change: str = Field(examples=["insert 'nobody' into the hypothesis"])
    """What was done, read from a formula."""
    formula: str = Field(examples=["hyp:tok:nobody AND NOT overlap-75"])
    """The formula."""
    unit: int = Field(examples=[17])
    """Its unit."""
    before: list[str] = Field(examples=[["a dog runs .", "a dog sleeps ."]])
    """Text before: premise and hypothesis; name of the image for images."""
    after: list[str] = Field(examples=[["a dog runs .", "nobody sleeps ."]])
    """Text after."""
    predicted_before: str = Field(examples=["neutral"])
    """What the model said before; of a detector whether it found the class."""
    predicted_after: str = Field(examples=["contradiction"])
    """What it said after."""
    probability_before: float = Field(examples=[0.12])
    """Of the class to bring about; of a detector the score of its best box of that class."""
    probability_after: float = Field(examples=[0.97])
    """Of the class to bring about; of a detector the score of its best box of that class."""


class SuccessRate(Contract):
    """How often changes brought the class about."""

    tries: int = Field(examples=[200])
    """Inputs changed, of another predicted class before; of a detector, images in which it found none of the
    class."""
    successes: int = Field(examples=[154])
    """Of these, how many were predicted as the class after, or had a box of it over the detector's
    `score_threshold`."""
    rate: float = Field(examples=[0.77])
    """Their share."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(examples=[[0.707, 0.823]])
    """95 % confidence interval of the share (Wilson's)."""
    probability_gain: float = Field(examples=[0.58])
    """Mean of what the class's probability gained."""


class CopyPasteResult(Contract):
    """Whether formulas foretell what changes do."""

    kind: Literal["copy_paste"] = "copy_paste"
    """What was analysed."""
    label: str = Field(examples=["contradiction"])
    """The class to bring about."""
    proposed: SuccessRate
    """Changes that formulas proposed."""
    control: SuccessRate
    """As many changes of the same sort with concepts drawn at random, on the same inputs."""
    changes: list[str] = Field(examples=[["insert 'nobody' into the hypothesis"]])
    """The changes that were proposed, those of the highest weight first."""
    examples: list[Edit]
    """The most convincing of the proposed ones."""


class UnitDrift(Contract):
    """What became of a unit."""

    layer: str = Field(examples=["relu_12"])
    """The tensor."""
    unit: int = Field(examples=[17])
    """The unit."""
    iou: float = Field(examples=[0.84])
    """IoU of where it fires in the one model and in the other."""
    formula_before: str | None = Field(examples=["car OR road"])
    """Its formula in the explained model."""
    formula_after: str | None = Field(examples=["car"])
    """Its formula in the other."""
    same_formula: bool
    """Whether the two are the same."""
    score_before: float = Field(examples=[0.31])
    """IoU of the one formula."""
    score_after: float = Field(examples=[0.27])
    """IoU of the other."""


class ModelDrift(Contract):
    """What became of all units in one model."""

    model_id: str = Field(examples=["mdl_7c1m5w9q3v0r8t2x6y4z"])
    """The model."""
    bits: str | None = Field(examples=["W4A4"])
    """Bits of its weights and activations, if it was quantized here."""
    mean_iou: float = Field(examples=[0.84])
    """Mean of the units' IoU."""
    explained: int = Field(default=0, examples=[187])
    """How many of them have a formula in either model."""
    same_formula: float = Field(examples=[0.61])
    """Share of these whose formula stayed."""
    score_change: float = Field(examples=[-0.02])
    """Mean change of these formulas' IoU; a unit without a formula counts as 0."""
    units: list[UnitDrift]
    """Every unit that fires in either model."""


class DriftResult(Contract):
    """What became of units in models of one origin."""

    kind: Literal["drift"] = "drift"
    """What was analysed."""
    models: list[ModelDrift]
    """Model after model, in the order asked for."""


AnalysisResult = Annotated[
    AbstractionsResult | InterpretabilityResult | CopyPasteResult | DriftResult, Field(discriminator="kind")
]
"""What an analysis found."""


class Analysis(Contract):
    """An analysis of an explanation."""

    id: str = Field(examples=["anl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation analysed."""
    created_at: Timestamp
    """When it was made."""
    sha256: Sha256
    """SHA-256 of `…/content`: the result as JSON."""
    bytes: int = Field(examples=[81234])
    """Size of that file."""
    settings: AnalysisRequest
    """The request, defaults filled in."""
    result: AnalysisResult
    """What was found."""
    warnings: list[str] = Field(
        default_factory=list, examples=[["3 units are left out: they have no formula, or fire too seldom."]]
    )
    """What could mislead a reader."""
    seconds: float = Field(examples=[4.2])
    """How long the job worked on it."""
    provenance: Provenance | None = None
    """Everything needed to make it again."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Plots by name; `…/files/{name}` downloads one."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/analyses/anl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""


class AnalysisSummary(Contract):
    """An analysis as lists show it; `links.self` leads to all of it."""

    id: str = Field(examples=["anl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation analysed."""
    created_at: Timestamp
    """When it was made."""
    kind: AnalysisKind = Field(examples=["drift"])
    """What was analysed."""
    warnings: list[str] = Field(default_factory=list, examples=[["3 units are left out: they have no formula."]])
    """What could mislead a reader."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/analyses/anl_4x8k2m9q0v7r3t6w1y5z"}])
    """Where to go from here."""

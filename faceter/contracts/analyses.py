"""Analyses of an explanation: abstractions, interpretability, copy-paste edits, drift."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field

from faceter.contracts.base import (
    ComposedText,
    Contract,
    Provenance,
    Sha256,
    StoredFile,
    StoredRecord,
    Timestamp,
)

AnalysisKind = Literal["abstractions", "interpretability", "copy_paste", "drift"]
"""Kind of an analysis."""


class AbstractionsRequest(Contract):
    """Request to classify formulas by kind of abstraction."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["abstractions"] = "abstractions"
    """Kind of the analysis."""
    taxonomy: dict[str, list[str]] | None = Field(
        default=None, examples=[{"vehicle": ["car", "bicyclist"], "ground": ["road", "pavement"]}]
    )
    """Groups of related concepts, by name of the group; concepts are named as in formulas (`car`, `hyp:tok:dog`)."""
    embedding: dict[str, list[float]] | None = Field(default=None, examples=[{"car": [0.1, 0.9], "road": [0.2, 0.8]}])
    """A vector for each concept: concepts with a cosine similarity of at least `related_from` are related. Without
    this and without `taxonomy`, text pairs use the vectors of the dataset, if it has any."""
    related_from: float = Field(default=0.4, ge=-1, le=1)
    """Minimum cosine similarity of related concepts."""
    together_from: float = Field(default=0.0, examples=[0.0])
    """Minimum pointwise mutual information over samples, in nats, of concepts that count as co-occurring. At 0 they
    occur in the same samples at least as often as by chance."""


class InterpretabilityRequest(Contract):
    """Request to correlate the IoU of formulas with the accuracy of the model where units fire."""

    kind: Literal["interpretability"] = "interpretability"
    """Kind of the analysis."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of a labelled dataset: `images` for an image classifier, `detection` for a detector, for which recall of boxes
    is used instead of accuracy. By default the probe dataset, which must then be labelled."""
    min_samples: int = Field(default=10, ge=2)
    """Units that fire in fewer samples (boxes) are excluded."""


class CopyPasteRequest(Contract):
    """Request to edit inputs as formulas propose and measure the change of predictions."""

    kind: Literal["copy_paste"] = "copy_paste"
    """Kind of the analysis."""
    label: ComposedText = Field(min_length=1, max_length=200, examples=["contradiction"])
    """Name of the target class."""
    units: int = Field(default=10, ge=1, le=100)
    """Number of units with the highest weight to the target class, and with the lowest, whose formulas propose edits.
    Without weights (detectors), units are ranked by the correlation of their firing with the score of the class.
    Regions are only added to images, so units with the lowest weight are used for text only."""
    tries: int = Field(default=200, ge=10, le=10_000)
    """Number of inputs to edit; the same number of control edits use random concepts."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed; equal seeds give equal results."""


class DriftRequest(Contract):
    """Request to compare units between models of one origin."""

    kind: Literal["drift"] = "drift"
    """Kind of the analysis."""
    model_ids: Annotated[list[str], Field(min_length=1, max_length=16)] = Field(examples=[["mdl_7c1m5w9q3v0r8t2x6y4z"]])
    """Ids of models of the same origin as the explained model, such as its quantized models, with equal layer names."""


AnalysisRequest = Annotated[
    AbstractionsRequest | InterpretabilityRequest | CopyPasteRequest | DriftRequest, Field(discriminator="kind")
]
"""Request for an analysis."""


class Abstraction(StrEnum):
    """Kind of abstraction of a formula (Mu & Andreas 2020, section 5)."""

    SINGLE = "single"
    """A single concept."""
    COHERENT = "lexically_coherent"
    """Disjunction of concepts related in meaning: `car OR bus`."""
    INCOHERENT = "lexically_incoherent"
    """Disjunction of concepts that are unrelated in meaning but co-occur in the data, so the model may confuse
    them: `road OR car`."""
    SPECIALIZED = "specialized"
    """A concept narrowed by AND or AND NOT: `road AND NOT dusk`."""
    POLYSEMANTIC = "polysemantic"
    """Disjunction of concepts that are unrelated in meaning and do not co-occur."""


class UnitAbstraction(Contract):
    """Kind of abstraction of the formula of a unit."""

    layer: str = Field(examples=["relu_12"])
    """Name of the tensor."""
    unit: int = Field(examples=[17])
    """Index of the unit."""
    formula: str = Field(examples=["(car OR road) AND NOT dusk"])
    """Formula of the unit."""
    score: float = Field(examples=[0.31])
    """IoU of the formula."""
    kind: Abstraction
    """Kind of abstraction."""


class AbstractionsResult(Contract):
    """Formulas by kind of abstraction."""

    kind: Literal["abstractions"] = "abstractions"
    """Kind of the analysis."""
    by: Literal["taxonomy", "embedding", "vectors", "cooccurrence"]
    """Source of relatedness. With `cooccurrence` nothing is known about meaning: disjunctions of co-occurring concepts
    count as lexically coherent."""
    shares: dict[Abstraction, float] = Field(examples=[{"specialized": 0.7, "polysemantic": 0.1}])
    """Share of formulas of each kind."""
    units: list[UnitAbstraction]
    """All explained units."""
    unknown: list[str] = Field(default_factory=list, examples=[["dusk"]])
    """Concepts that are missing in the taxonomy or embedding; they count as unrelated to all others."""


class Correlation(Contract):
    """Correlation of accuracy and IoU over units, at one maximum length of formulas."""

    length: int = Field(examples=[3])
    """Maximum number of concepts in a formula."""
    units: int = Field(examples=[187])
    """Number of units."""
    r: float | None = Field(examples=[-0.18])
    """Pearson correlation; null if one of the two is constant."""
    p: float | None = Field(examples=[0.012])
    """Two-sided p-value under the hypothesis of no correlation; null without `r`."""


class UnitAccuracy(Contract):
    """Accuracy of the model where a unit fires."""

    layer: str = Field(examples=["relu_12"])
    """Name of the tensor."""
    unit: int = Field(examples=[17])
    """Index of the unit."""
    samples: int = Field(examples=[412])
    """Number of labelled samples (boxes) in which the unit fires."""
    accuracy: float = Field(examples=[0.83])
    """Share of these that are predicted correctly: accuracy of a classifier, recall of a detector."""
    score: float = Field(examples=[0.31])
    """IoU of the formula."""


class InterpretabilityResult(Contract):
    """Correlation of the IoU of formulas with the accuracy where units fire."""

    kind: Literal["interpretability"] = "interpretability"
    """Kind of the analysis."""
    of: Literal["accuracy", "recall"]
    """Measure in `accuracy` of each unit."""
    overall: float = Field(examples=[0.79])
    """Accuracy or recall over all samples (boxes)."""
    correlations: list[Correlation]
    """Correlation for each maximum length of formulas."""
    units: list[UnitAccuracy]
    """Units that fire in at least `min_samples` samples (boxes)."""


class Edit(Contract):
    """An edit of an input and its effect."""

    index: int = Field(examples=[1204])
    """Position of the sample in the dataset."""
    change: str = Field(examples=["insert 'nobody' into the hypothesis"])
    """Description of the edit."""
    formula: str = Field(examples=["hyp:tok:nobody AND NOT overlap-75"])
    """Formula that proposes the edit."""
    unit: int = Field(examples=[17])
    """Index of the unit with this formula."""
    layer: str | None = Field(default=None, examples=["relu_12"])
    """Layer of the unit; null in analyses of earlier versions."""
    before: list[str] = Field(examples=[["a dog runs .", "a dog sleeps ."]])
    """Premise and hypothesis before the edit; for images, the name of the image."""
    after: list[str] = Field(examples=[["a dog runs .", "nobody sleeps ."]])
    """The same after the edit."""
    predicted_before: str = Field(examples=["neutral"])
    """Predicted class before the edit; for a detector, whether the class was detected."""
    predicted_after: str = Field(examples=["contradiction"])
    """The same after the edit."""
    probability_before: float = Field(examples=[0.12])
    """Probability of the target class before the edit; for a detector, score of its best box of that class."""
    probability_after: float = Field(examples=[0.97])
    """The same after the edit."""
    donor: str | None = Field(default=None, examples=["images/0001TP_006690.jpg"])
    """For images: name of the image that the pasted region is of."""
    images: list[str] = Field(
        default_factory=list, examples=[["example-0-original.png", "example-0-donor.png", "example-0-result.png"]]
    )
    """For images: names in `files` of the original, of the donor with its region outlined, and of the result."""


class SuccessRate(Contract):
    """Success rate of edits: share that change the prediction to the target class."""

    tries: int = Field(examples=[200])
    """Number of edited inputs, with another predicted class before; for a detector, images without a detected object of
    the class."""
    successes: int = Field(examples=[154])
    """Number of these predicted as the target class after the edit; for a detector, with a box of it above
    `score_threshold`."""
    rate: float = Field(examples=[0.77])
    """successes / tries."""
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] = Field(examples=[[0.707, 0.823]])
    """95 % Wilson confidence interval of the rate."""
    probability_gain: float = Field(examples=[0.58])
    """Mean increase of the probability of the target class."""


class CopyPasteResult(Contract):
    """Success rates of edits proposed by formulas and of random edits."""

    kind: Literal["copy_paste"] = "copy_paste"
    """Kind of the analysis."""
    label: str = Field(examples=["contradiction"])
    """Name of the target class."""
    proposed: SuccessRate
    """Edits proposed by formulas."""
    control: SuccessRate
    """Control: the same number and type of edits with random concepts, on the same inputs."""
    changes: list[str] = Field(examples=[["insert 'nobody' into the hypothesis"]])
    """Proposed edits, those of the units with the highest weight first."""
    examples: list[Edit]
    """Proposed edits with the largest effect."""


class UnitDrift(Contract):
    """Drift of a unit."""

    layer: str = Field(examples=["relu_12"])
    """Name of the tensor."""
    unit: int = Field(examples=[17])
    """Index of the unit."""
    iou: float = Field(examples=[0.84])
    """IoU of the regions where the unit fires in the two models."""
    formula_before: str | None = Field(examples=["car OR road"])
    """Formula in the explained model."""
    formula_after: str | None = Field(examples=["car"])
    """Formula in the other model."""
    same_formula: bool
    """Whether both formulas are equal."""
    score_before: float = Field(examples=[0.31])
    """IoU of `formula_before`."""
    score_after: float = Field(examples=[0.27])
    """IoU of `formula_after`."""


class ModelDrift(Contract):
    """Drift of all units in one model."""

    model_id: str = Field(examples=["mdl_7c1m5w9q3v0r8t2x6y4z"])
    """Id of the model."""
    bits: str | None = Field(examples=["W4A4"])
    """Bits of weights and activations; null if the model was not quantized by this service."""
    mean_iou: float = Field(examples=[0.84])
    """Mean IoU of the units."""
    explained: int = Field(default=0, examples=[187])
    """Number of units with a formula in at least one of the two models."""
    same_formula: float = Field(examples=[0.61])
    """Share of these units whose formula is unchanged."""
    score_change: float = Field(examples=[-0.02])
    """Mean change of the IoU of these formulas; a unit without a formula counts as 0."""
    units: list[UnitDrift]
    """All units that fire in at least one of the two models."""


class DriftResult(Contract):
    """Drift of units between models of one origin."""

    kind: Literal["drift"] = "drift"
    """Kind of the analysis."""
    models: list[ModelDrift]
    """Drift per model, in the order of the request."""


AnalysisResult = Annotated[
    AbstractionsResult | InterpretabilityResult | CopyPasteResult | DriftResult, Field(discriminator="kind")
]
"""Result of an analysis."""


class Analysis(StoredRecord):
    """An analysis of an explanation."""

    id: str = Field(examples=["anl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the analysed explanation."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of `…/content`: the result as JSON."""
    bytes: int = Field(examples=[81234])
    """Size of `…/content` in bytes."""
    settings: AnalysisRequest
    """Settings of the request, including defaults."""
    result: AnalysisResult
    """Result."""
    warnings: list[str] = Field(
        default_factory=list, examples=[["3 units are left out: they have no formula, or fire too seldom."]]
    )
    """What a reader should know."""
    seconds: float = Field(examples=[4.2])
    """Run time of the job."""
    provenance: Provenance | None = None
    """Everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Plots by name; download one from `…/files/{name}`."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/analyses/anl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""


class AnalysisSummary(Contract):
    """Analysis as an item of a list; `links.self` is the full record."""

    id: str = Field(examples=["anl_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the analysed explanation."""
    created_at: Timestamp
    """Time of creation."""
    kind: AnalysisKind = Field(examples=["drift"])
    """Kind of the analysis."""
    warnings: list[str] = Field(default_factory=list, examples=[["3 units are left out: they have no formula."]])
    """What a reader should know."""
    links: dict[str, str] = Field(default_factory=dict, examples=[{"self": "/v1/analyses/anl_4x8k2m9q0v7r3t6w1y5z"}])
    """URLs to GET."""

    @classmethod
    def of(cls, analysis: Analysis) -> Self:
        """Return the summary of an analysis."""
        return cls(
            id=analysis.id,
            explanation_id=analysis.explanation_id,
            created_at=analysis.created_at,
            kind=analysis.settings.kind,
            warnings=analysis.warnings,
        )


class AnalysisKindFilter(Contract):
    """Filter of the list of analyses of an explanation."""

    kind: AnalysisKind | None = Field(default=None, examples=["drift"])
    """Only analyses of this kind."""

    def matches(self, analysis: Analysis) -> bool:
        """Return whether an analysis matches the filter."""
        return self.kind is None or analysis.settings.kind == self.kind


class AnalysisFilter(AnalysisKindFilter):
    """Filter of the list of analyses."""

    explanation_id: str | None = Field(default=None, examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Only analyses of this explanation, even if it has been deleted."""

    def matches(self, analysis: Analysis) -> bool:
        """Return whether an analysis matches the filter."""
        return super().matches(analysis) and self.explanation_id in (None, analysis.explanation_id)

"""Explanations: what each unit of a network detects, as a formula over concepts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from faceter.contracts.base import Contract, Page, Provenance, Sha256, StoredFile, Timestamp, in_one_sentence

LONGEST_FORMULA = 10
"""Most concepts of a formula."""


class Search(StrEnum):
    """How formulas are looked for."""

    BEAM = "beam"
    """The published procedure (Mu & Andreas 2020): from the best concepts on, the best few formulas are made longer by
    one concept at a time."""
    OPTIMAL = "optimal"
    """Every formula of the length, counted or ruled out by a bound: `optimal` then says whether that was done."""


class Operator(StrEnum):
    """What joins a formula and a concept."""

    OR = "or"
    """Either of them."""
    AND = "and"
    """Both."""
    AND_NOT = "and_not"
    """The formula without the concept."""
    NEIGHBORS = "neighbors"
    """For words: a word or one of the five nearest to it by the dataset's vectors, on the same side of the pair. It
    makes a concept of a concept, and counts as one."""


class DerivedConcept(StrEnum):
    """Concepts that nobody labelled, found in the samples themselves."""

    COLOR = "color"
    """Which of eleven basic colours a pixel has: black, blue, brown, gray, green, orange, pink, purple, red, white,
    yellow."""
    POSITION = "position"
    """In which third of an image a pixel lies: top, middle or bottom, and left, center or right. In which third of a
    signal a moment lies: start, middle or end."""


class ExplanationRequest(Contract):
    """What to explain, by which concepts, and how to look for formulas."""

    model_config = ConfigDict(allow_inf_nan=False)

    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the dataset with the concepts: of kind `concepts`, `signals` (with `concepts`) or `text_pairs`. Concepts
    of text pairs are `pre:tok:WORD` and `hyp:tok:WORD`, words of the premise and the hypothesis (but for a, an, the, of
    and marks), `pre:tag:TAG` and `hyp:tag:TAG`, and `overlap-25`, `-50`, `-75`: more than that share of the hypothesis'
    words is in the premise too."""
    layer: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=50)],
        in_one_sentence("must be the name of a tensor, or a list of 1 to 50 of them"),
    ] = Field(examples=["relu_12"])
    """Name of the tensor whose units are explained, as `…/graph` lists it; several allowed. Its second axis counts the
    units: [N, units, height, width], [N, units, length] or [N, units]."""
    units: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        default=None, examples=[[0, 1, 17]]
    )
    """Which units; all if not given."""
    search: Search = Search.BEAM
    """How to look for formulas."""
    max_length: int = Field(default=3, ge=1, le=LONGEST_FORMULA)
    """Most concepts in a formula."""
    beam_size: int = Field(default=5, ge=1, le=100)
    """Formulas kept from one length to the next."""
    quantile: float | None = Field(default=None, gt=0, lt=1, examples=[0.005])
    """A unit fires where its activation is over the value that at most this share of its activations exceeds; 0.005 for
    images and signals if neither this nor `threshold` is given."""
    threshold: float | None = Field(default=None, examples=[0.0])
    """A unit fires where its activation is over this; 0 for text if neither this nor `quantile` is given."""
    complexity_penalty: float = Field(default=1.0, gt=0, le=1, examples=[0.95])
    """Formulas are chosen by IoU · penalty^(length − 1): under 1 it favours short ones. `score` is the IoU itself."""
    operators: Annotated[list[Operator], Field(min_length=1)] | None = Field(
        default=None, examples=[["or", "and", "and_not"]]
    )
    """Which operators formulas may have; `or`, `and` and `and_not` if not given. With `neighbors`, for text pairs with
    `vectors.txt`, there is a concept NEIGHBORS(w) for each word w: it or one of the 5 words nearest to it, on its
    side."""
    derived_concepts: list[DerivedConcept] = Field(default_factory=list, examples=[["color"]])
    """Further concepts, found in the samples themselves. `color`: black, blue, brown, gray, green, orange, pink,
    purple, red, white, yellow. `position`: top, middle, bottom and left, center, right, a third each; of signals start,
    middle, end."""
    resolution: Annotated[list[Annotated[int, Field(ge=1, le=1024)]], Field(min_length=2, max_length=2)] | None = Field(
        default=None, examples=[[112, 112]]
    )
    """For images: height and width at which masks are compared; 112 × 112 if not given. Activations come to it
    bilinearly without corner alignment, labels by nearest neighbour. (Of signals they come to the moments linearly.
    What lies between two cells is lower than the higher one, so a peak may be over the threshold and no pixel.)"""
    cut_sentences: bool = False
    """For text: whether sentences with more words than the model takes are cut off there, and counted in `warnings`;
    else they are refused."""
    min_firings: int = Field(default=1, ge=1, examples=[100])
    """Units that fire at fewer pixels (moments, pairs) are left unexplained."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed; equal seeds give equal results."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["last block, CamVid"])
    """What to call it; made from the names of the model and the dataset if not given."""

    @property
    def layers(self) -> list[str]:
        """Every layer, none twice."""
        return list(dict.fromkeys([self.layer] if isinstance(self.layer, str) else self.layer))

    @property
    def joined_by(self) -> list[Operator]:
        """The operators, none twice, in the order in which formulas are made."""
        wanted = self.operators if self.operators is not None else [Operator.OR, Operator.AND, Operator.AND_NOT]
        return [operator for operator in Operator if operator in wanted]


class FormulaNode(Contract):
    """A part of a formula: a concept, or two parts joined."""

    operator: Operator | None = None
    """What joins the parts; null for a concept."""
    concept: str | None = Field(default=None, examples=["sky"])
    """Name of the concept, of one."""
    parts: list[FormulaNode] = Field(default_factory=list)
    """What is joined: two, or one for `neighbors`."""


class ClassWeight(Contract):
    """How a unit goes with one class."""

    label: str = Field(examples=["entailment"])
    """The class."""
    weight: float | None = Field(default=None, examples=[0.31])
    """The weight from the unit to the class's logit, where the layer feeds the last linear one."""
    pmi: float | None = Field(default=None, examples=[0.8])
    """Pointwise mutual information of the formula and the class that the model predicts, in nats: log p(F, class) /
    (p(F) p(class)); for text only, null where they never meet. High values mark a shallow heuristic."""


class UnitExample(Contract):
    """A sample at which a unit is strongest."""

    index: int = Field(examples=[17])
    """Its position in the dataset, from 0."""
    name: str | None = Field(default=None, examples=["images/0001TP_006690.jpg"])
    """Its name in the archive, for images."""
    activation: float = Field(examples=[7.31])
    """The largest activation of the unit in it."""
    texts: list[str] | None = Field(default=None, examples=[["a man plays .", "a man sleeps ."]])
    """Premise and hypothesis, for text."""
    label: str | None = Field(default=None, examples=["contradiction"])
    """Its class, if it has one."""
    predicted: str | None = Field(default=None, examples=["contradiction"])
    """The class that the model predicts, if it is a classifier."""


class UnitSummary(Contract):
    """A unit and its formula, as lists show it."""

    layer: str = Field(examples=["relu_12"])
    """The tensor."""
    unit: int = Field(examples=[17])
    """Position of the unit along the tensor's second axis, from 0."""
    formula: str | None = Field(examples=["(car OR road) AND NOT dusk"])
    """The best formula found; null where the unit was left unexplained."""
    length: int = Field(examples=[3])
    """How many concepts it has; 0 without a formula."""
    score: float = Field(examples=[0.31])
    """IoU of where the unit fires and where the formula is true, over all samples together; 0 without a formula."""
    concept: str | None = Field(examples=["car"])
    """The best single concept: what Network Dissection would say."""
    concept_score: float = Field(examples=[0.22])
    """Its IoU."""
    ceiling: float = Field(examples=[0.44])
    """The highest IoU that any formula of any length over these concepts could have. A low one says that the concepts
    are too few for this unit."""
    optimal: bool | None = Field(examples=[True])
    """Whether no formula of at most that length does better: true, false, or null where it is not known."""
    firings: int = Field(examples=[7712])
    """At how many pixels (moments, pairs) it fires."""
    reason: str | None = Field(default=None, examples=["never fires"])
    """Why it was left unexplained, if it was."""


class Unit(UnitSummary):
    """All that was found out about a unit."""

    tree: FormulaNode | None = None
    """The formula as a tree."""
    threshold: float = Field(examples=[1.37])
    """It fires where its activation is over this."""
    scores: list[float] = Field(default_factory=list, examples=[[0.22, 0.28, 0.31]])
    """The best IoU at every length up to `max_length`: the first is that of one concept."""
    formulas: list[str] = Field(default_factory=list, examples=[["car", "car OR road", "(car OR road) AND NOT dusk"]])
    """The formulas that have these scores."""
    bound: float | None = Field(default=None, examples=[0.33])
    """Where `optimal` is not true: no formula of at most that length has a higher IoU than this."""
    classes: list[ClassWeight] = Field(default_factory=list)
    """How it goes with each class, for a classifier."""
    examples: list[UnitExample] = Field(default_factory=list)
    """Samples at which it is strongest, the strongest first."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"image": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/units/17/image"}]
    )
    """Where to go from here."""


class UnitPage(Page[UnitSummary]):
    """Some of the units."""

    total: int = Field(examples=[192])
    """How many there are, of those asked for."""


class FoundUnit(UnitSummary):
    """A unit of a model, found over all its explanations."""

    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """The explanation that says so."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The dataset it is about."""


class ConceptUse(Contract):
    """How often a concept is used."""

    concept: str = Field(examples=["car"])
    """Its name."""
    category: str = Field(examples=["object"])
    """Its category."""
    units: int = Field(examples=[31])
    """In how many formulas it is."""


class Spread(Contract):
    """How values are spread."""

    minimum: float = Field(examples=[0.01])
    """The smallest."""
    lower_quartile: float = Field(examples=[0.05])
    """A quarter of them are below."""
    median: float = Field(examples=[0.09])
    """Half of them are below."""
    upper_quartile: float = Field(examples=[0.14])
    """Three quarters of them are below."""
    maximum: float = Field(examples=[0.44])
    """The largest."""
    mean: float = Field(examples=[0.1])
    """Their mean."""


class LayerSummary(Contract):
    """What was found about a layer."""

    layer: str = Field(examples=["relu_12"])
    """The tensor."""
    shape: list[int] = Field(examples=[[192, 22, 22]])
    """Its shape for one sample: units, and what they are laid out over."""
    units: int = Field(examples=[192])
    """How many units were looked at."""
    explained: int = Field(examples=[187])
    """How many of them have a formula."""
    iou: Spread | None = None
    """IoU of the formulas of those."""
    concept_iou: Spread | None = None
    """IoU of their best single concepts."""
    gain: float | None = Field(default=None, examples=[0.034])
    """Mean of what formulas have more than single concepts, in IoU."""
    at_ceiling: int = Field(default=0, examples=[12])
    """Units whose formula is as good as any formula of any length could be (to 0.1 %)."""
    mean_ceiling: float | None = Field(default=None, examples=[0.31])
    """Mean of the ceilings."""
    proven: int = Field(default=0, examples=[187])
    """Units whose formula is known to be the best of at most that length."""
    most_used: list[ConceptUse] = Field(default_factory=list)
    """The concepts in most formulas, at most 20."""
    lengths: dict[str, int] = Field(default_factory=dict, examples=[{"1": 10, "2": 30, "3": 147}])
    """How many formulas have each length."""


class Explanation(Contract):
    """What the units of one or more layers detect."""

    id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["last block, CamVid"])
    """What it is called."""
    created_at: Timestamp
    """When it was made."""
    sha256: Sha256
    """SHA-256 of `…/content`: every unit, as JSON."""
    bytes: int = Field(examples=[812345])
    """Size of that file."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model explained."""
    model_sha256: Sha256
    """SHA-256 of its file."""
    dataset_sha256: Sha256
    """SHA-256 of the file with the concepts."""
    settings: ExplanationRequest
    """The request, defaults filled in."""
    about: Literal["images", "signals", "text"]
    """What the samples are."""
    samples: int = Field(examples=[123])
    """How many samples."""
    pixels: int = Field(examples=[1542912])
    """How many pixels (moments, pairs) were compared, all samples together."""
    concepts: dict[str, list[str]] = Field(examples=[{"object": ["sky", "car"], "scene": ["day", "dusk"]}])
    """The concepts that occur, by category, those made of others included; of a category with very many (words) the
    first few."""
    concept_count: int = Field(examples=[24])
    """How many concepts there are, those that never occur included."""
    patterns: int = Field(examples=[112])
    """How many different sets of concepts pixels have; the search works on these."""
    layers: list[LayerSummary]
    """What was found, layer by layer."""
    warnings: list[str] = Field(default_factory=list, examples=[["14 words are not in the vocabulary."]])
    """What could mislead a reader."""
    seconds: float = Field(examples=[4.2])
    """How long the job worked on it."""
    provenance: Provenance | None = None
    """Everything needed to make it again."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Plots by name, such as `layers.png`; `…/files/{name}` downloads one."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"self": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z"}]
    )
    """Where to go from here."""


class ExplanationSummary(Contract):
    """An explanation as lists show it."""

    id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["last block, CamVid"])
    """What it is called."""
    created_at: Timestamp
    """When it was made."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model explained."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """The dataset with the concepts."""
    layers: list[str] = Field(examples=[["relu_12"]])
    """The layers."""
    units: int = Field(examples=[192])
    """How many units were looked at."""
    mean_iou: float | None = Field(default=None, examples=[0.1])
    """Mean IoU of all formulas."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"self": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z"}]
    )
    """Where to go from here."""

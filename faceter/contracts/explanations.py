"""Explanations: what each unit of a network detects, as a formula over concepts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field

from faceter.contracts import references
from faceter.contracts.base import (
    Contract,
    Provenance,
    Sha256,
    StoredFile,
    StoredRecord,
    Timestamp,
    message_if_invalid,
    name_contains,
)
from faceter.contracts.input_shapes import InputShapes
from faceter.contracts.references import ResourceReference

LONGEST_FORMULA = 10
"""Maximum number of concepts in a formula."""


class Search(StrEnum):
    """Search procedure for formulas."""

    BEAM = "beam"
    """Beam search (Mu & Andreas 2020): starting with the best concepts, the best few formulas are extended by one
    concept at a time."""
    OPTIMAL = "optimal"
    """Exhaustive search with pruning by bounds; `optimal` of a unit says whether the search was complete."""


class Operator(StrEnum):
    """Operator of a formula."""

    OR = "or"
    """True where either operand is true."""
    AND = "and"
    """True where both operands are true."""
    AND_NOT = "and_not"
    """True where the formula is true and the concept is not."""
    NEIGHBORS = "neighbors"
    """For words: a word or one of its five nearest words by the vectors of the dataset, on the same side of the pair.
    The result is a concept and has length 1."""


class DerivedConcept(StrEnum):
    """Concepts computed from the samples, without labels."""

    COLOR = "color"
    """The basic colour of a pixel, one of eleven: black, blue, brown, gray, green, orange, pink, purple, red, white,
    yellow."""
    POSITION = "position"
    """The third of an image in which a pixel is: top, middle or bottom, and left, center or right. For signals: start,
    middle or end."""


class ExplanationRequest(Contract):
    """Request to explain units: layers, probe dataset and settings of the search."""

    model_config = ConfigDict(allow_inf_nan=False)

    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the probe dataset, of kind `concepts`, `signals` (with `concepts`), `texts` or `text_pairs`. Concepts of
    texts: `tok:WORD`, words in lower case, and `tag:TAG`; a model with a tokenizer sees them. Concepts of text pairs:
    `pre:tok:WORD` and `hyp:tok:WORD`, words of the premise and the hypothesis (except a, an, the, of and punctuation);
    `pre:tag:TAG` and `hyp:tag:TAG`; and `overlap-25`, `-50`, `-75`: more than that percentage of the words of the
    hypothesis is also in the premise."""
    layer: Annotated[
        str | Annotated[list[str], Field(min_length=1, max_length=50)],
        message_if_invalid("must be the name of a tensor, or a list of 1 to 50 of them"),
    ] = Field(examples=["relu_12"])
    """Name of the tensor whose units are explained, see `…/graph`; or a list of names. Units are along the second axis:
    [N, units, height, width], [N, units, length] or [N, units]. For texts of a model with a tokenizer also [N, length,
    units]: the activation of a unit is its largest over the tokens of the words."""
    units: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = Field(
        default=None, examples=[[0, 1, 17]]
    )
    """Indices of the units to explain; by default all."""
    search: Search = Search.BEAM
    """Search procedure."""
    max_length: int = Field(default=3, ge=1, le=LONGEST_FORMULA)
    """Maximum number of concepts in a formula."""
    beam_size: int = Field(default=5, ge=1, le=100)
    """Number of formulas kept at each length."""
    quantile: float | None = Field(default=None, gt=0, lt=1, examples=[0.005])
    """The activation threshold is the value that at most this share of the activations of a unit exceeds. Default for
    images and signals if `threshold` is not given: 0.005; for texts of a model with a tokenizer: 0.05."""
    threshold: float | None = Field(default=None, examples=[0.0])
    """Activation threshold: a unit fires where its activation exceeds this value. Default for text of a
    model without a tokenizer if `quantile` is not given: 0."""
    complexity_penalty: float = Field(default=1.0, gt=0, le=1, examples=[0.95])
    """Formulas are ranked by IoU · penalty^(length − 1); values below 1 favour short formulas. `score` is the IoU."""
    operators: Annotated[list[Operator], Field(min_length=1)] | None = Field(
        default=None, examples=[["or", "and", "and_not"]]
    )
    """Operators allowed in formulas; by default `or`, `and` and `and_not`. `neighbors`, for text pairs with
    `vectors.txt`, adds a concept NEIGHBORS(w) for each word w: the word or one of its 5 nearest words, on the same side
    of the pair."""
    derived_concepts: list[DerivedConcept] = Field(default_factory=list, examples=[["color"]])
    """Further concepts, computed from the samples. `color`: black, blue, brown, gray, green, orange, pink, purple, red,
    white, yellow. `position`: top, middle, bottom and left, center, right, a third each; for signals start, middle,
    end."""
    resolution: Annotated[list[Annotated[int, Field(ge=1, le=1024)]], Field(min_length=2, max_length=2)] | None = Field(
        default=None, examples=[[112, 112]]
    )
    """For images: height and width at which masks are compared; by default 112 × 112. Activations are resampled
    bilinearly without corner alignment, labels by nearest neighbour. (For signals, activations are interpolated
    linearly to the time steps.) Interpolation lowers peaks, so a peak above the threshold may give no firing pixel."""
    cut_sentences: bool = False
    """For text: whether sentences longer than the model input are truncated and counted in `warnings`; otherwise they
    are rejected. Texts of a model with a tokenizer are always truncated and counted."""
    input_shapes: InputShapes | None = Field(default=None, examples=[{"images": [1, 3, 320, 320]}])
    """Shapes to run the model at, by input, for sizes that the file leaves open; by default those of its metadata. For
    the image input this is the size that images are brought to."""
    min_firings: int = Field(default=1, ge=1, examples=[100])
    """Units that fire at fewer pixels (time steps, pairs) are not explained."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed; equal seeds give equal results."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["last block, CamVid"])
    """Name of the explanation; by default derived from the names of the model and the dataset."""

    @property
    def references(self) -> dict[str, ResourceReference]:
        """The probe dataset, by field."""
        return {"dataset_id": references.dataset(self.dataset_id)}

    @property
    def layers(self) -> list[str]:
        """Distinct layers."""
        return list(dict.fromkeys([self.layer] if isinstance(self.layer, str) else self.layer))

    @property
    def joined_by(self) -> list[Operator]:
        """Distinct operators, in the order in which formulas are built."""
        allowed = self.operators if self.operators is not None else [Operator.OR, Operator.AND, Operator.AND_NOT]
        return [operator for operator in Operator if operator in allowed]


class ConceptUse(Contract):
    """Use of a concept in formulas."""

    concept: str = Field(examples=["car"])
    """Name of the concept."""
    category: str = Field(examples=["object"])
    """Category of the concept."""
    units: int = Field(examples=[31])
    """Number of units whose formula has the concept."""


class Spread(Contract):
    """Distribution of values."""

    minimum: float = Field(examples=[0.01])
    """Minimum."""
    lower_quartile: float = Field(examples=[0.05])
    """Lower quartile."""
    median: float = Field(examples=[0.09])
    """Median."""
    upper_quartile: float = Field(examples=[0.14])
    """Upper quartile."""
    maximum: float = Field(examples=[0.44])
    """Maximum."""
    mean: float = Field(examples=[0.1])
    """Mean."""


class LayerSummary(Contract):
    """Summary of the formulas of a layer."""

    layer: str = Field(examples=["relu_12"])
    """Name of the tensor."""
    shape: list[int] = Field(examples=[[192, 22, 22]])
    """Shape for one sample: units, followed by height and width or length, if any."""
    units: int = Field(examples=[192])
    """Number of requested units."""
    explained: int = Field(examples=[187])
    """Number of these units that have a formula."""
    iou: Spread | None = None
    """IoU of the formulas of the explained units."""
    concept_iou: Spread | None = None
    """IoU of the best single concepts of the explained units."""
    gain: float | None = Field(default=None, examples=[0.034])
    """Mean increase of the IoU from the best single concept to the formula."""
    at_ceiling: int = Field(default=0, examples=[12])
    """Number of units whose formula reaches the ceiling (within 0.1 %)."""
    mean_ceiling: float | None = Field(default=None, examples=[0.31])
    """Mean ceiling of the explained units."""
    proven: int = Field(default=0, examples=[187])
    """Number of units whose formula is proven to be the best of at most `max_length` concepts."""
    most_used: list[ConceptUse] = Field(default_factory=list)
    """Concepts used in the most formulas, at most 20."""
    lengths: dict[str, int] = Field(default_factory=dict, examples=[{"1": 10, "2": 30, "3": 147}])
    """Number of formulas by length."""


class Explanation(StoredRecord):
    """Explanation of the units of one or more layers."""

    id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["last block, CamVid"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    sha256: Sha256
    """SHA-256 of `…/content`: all units as JSON."""
    bytes: int = Field(examples=[812345])
    """Size of `…/content` in bytes."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the explained model."""
    model_sha256: Sha256
    """SHA-256 of the model file."""
    dataset_sha256: Sha256
    """SHA-256 of the file of the probe dataset."""
    settings: ExplanationRequest
    """Settings of the request, including defaults."""
    about: Literal["images", "signals", "text"]
    """Type of the samples."""
    samples: int = Field(examples=[123])
    """Number of samples."""
    pixels: int = Field(examples=[1542912])
    """Number of compared pixels (time steps, pairs) over all samples."""
    concepts: dict[str, list[str]] = Field(examples=[{"object": ["sky", "car"], "scene": ["day", "dusk"]}])
    """Concepts that occur, by category, including derived concepts and `neighbors`; at most 50 per category."""
    concept_count: int = Field(examples=[24])
    """Number of concepts, including those that never occur."""
    patterns: int = Field(examples=[112])
    """Number of distinct sets of concepts that pixels have (patterns); the search counts pixels by pattern."""
    layers: list[LayerSummary]
    """Summary of each layer."""
    warnings: list[str] = Field(default_factory=list, examples=[["14 words are not in the vocabulary."]])
    """What a reader should know."""
    seconds: float = Field(examples=[4.2])
    """Run time of the job."""
    provenance: Provenance | None = None
    """Everything needed to reproduce it."""
    files: dict[str, StoredFile] = Field(default_factory=dict)
    """Plots by name, such as `layers.png`; download one from `…/files/{name}`."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"self": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z"}]
    )
    """URLs to GET."""
    actions: dict[str, str] = Field(
        default_factory=dict, examples=[{"analyse": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/analyses"}]
    )
    """URLs to POST to: `analyse`."""


class ExplanationSummary(Contract):
    """Explanation as an item of a list."""

    id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Opaque id."""
    name: str = Field(examples=["last block, CamVid"])
    """Name."""
    created_at: Timestamp
    """Time of creation."""
    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the explained model."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the probe dataset."""
    layers: list[str] = Field(examples=[["relu_12"]])
    """Names of the explained tensors."""
    units: int = Field(examples=[192])
    """Number of requested units."""
    mean_iou: float | None = Field(default=None, examples=[0.1])
    """Mean IoU of all formulas."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"self": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z"}]
    )
    """URLs to GET."""

    @classmethod
    def of(cls, explanation: Explanation) -> Self:
        """Return the summary of an explanation."""
        explained = [(layer.iou.mean, layer.explained) for layer in explanation.layers if layer.iou is not None]
        count = sum(units for _, units in explained)
        return cls(
            id=explanation.id,
            name=explanation.name,
            created_at=explanation.created_at,
            model_id=explanation.model_id,
            dataset_id=explanation.settings.dataset_id,
            layers=explanation.settings.layers,
            units=sum(layer.units for layer in explanation.layers),
            mean_iou=sum(mean * units for mean, units in explained) / count if count else None,
        )


class ExplanationFilter(Contract):
    """Filter of the list of explanations."""

    model_id: str | None = Field(default=None, examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Only explanations of this model."""
    dataset_id: str | None = Field(default=None, examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Only explanations with this probe dataset."""
    name: str | None = Field(default=None, min_length=1, max_length=200, examples=["camvid"])
    """Only explanations whose name contains this text; case is ignored."""

    def matches(self, explanation: Explanation) -> bool:
        """Return whether an explanation matches the filter."""
        return (
            name_contains(self.name, explanation.name)
            and (self.model_id is None or explanation.model_id == self.model_id)
            and (self.dataset_id is None or explanation.settings.dataset_id == self.dataset_id)
        )

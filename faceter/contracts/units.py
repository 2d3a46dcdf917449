"""Units and their formulas."""

from __future__ import annotations

from pydantic import Field

from faceter.contracts.base import (
    Contract,
    Page,
)
from faceter.contracts.explanations import Operator


class FormulaNode(Contract):
    """Node of a formula tree: a concept, or an operator with its operands."""

    operator: Operator | None = None
    """Operator of the node; null for a concept."""
    concept: str | None = Field(default=None, examples=["sky"])
    """Name of the concept; null for an operator."""
    parts: list[FormulaNode] = Field(default_factory=list)
    """Operands: two, or one for `neighbors`; empty for a concept."""


class ClassWeight(Contract):
    """Association of a unit with one class."""

    label: str = Field(examples=["entailment"])
    """Name of the class."""
    weight: float | None = Field(default=None, examples=[0.31])
    """Weight from the unit to the logit of the class, if the layer feeds the last linear layer."""
    pmi: float | None = Field(default=None, examples=[0.8])
    """For text: pointwise mutual information of the formula and the predicted class in nats, log p(F, class) /
    (p(F) p(class)); null if they never occur together. High values indicate a shallow heuristic."""


class UnitExample(Contract):
    """Sample with a high activation of a unit."""

    index: int = Field(examples=[17])
    """Position in the dataset, from 0."""
    name: str | None = Field(default=None, examples=["images/0001TP_006690.jpg"])
    """For images: name in the archive."""
    activation: float = Field(examples=[7.31])
    """Largest activation of the unit in this sample."""
    texts: list[str] | None = Field(default=None, examples=[["a man plays .", "a man sleeps ."]])
    """For text: premise and hypothesis, or the text."""
    label: str | None = Field(default=None, examples=["contradiction"])
    """Class, if labelled."""
    predicted: str | None = Field(default=None, examples=["contradiction"])
    """Class predicted by the model, if it is a classifier."""


class UnitSummary(Contract):
    """Unit and its formula, as an item of a list."""

    layer: str = Field(examples=["relu_12"])
    """Name of the tensor."""
    unit: int = Field(examples=[17])
    """Index of the unit along the second axis of the tensor, from 0."""
    formula: str | None = Field(examples=["(car OR road) AND NOT dusk"])
    """Best formula found; null if the unit was not explained."""
    length: int = Field(examples=[3])
    """Number of concepts in the formula; 0 without a formula."""
    score: float = Field(examples=[0.31])
    """IoU of the region where the unit fires and the region where the formula is true, over all samples together;
    0 without a formula."""
    concept: str | None = Field(examples=["car"])
    """Best single concept, the label of Network Dissection."""
    concept_score: float = Field(examples=[0.22])
    """IoU of the best single concept."""
    ceiling: float = Field(examples=[0.44])
    """Upper limit of the IoU of any formula of any length over these concepts. A low ceiling means that the concepts
    do not describe this unit."""
    optimal: bool | None = Field(examples=[True])
    """Whether no formula of at most `max_length` concepts is better; null if unknown."""
    firings: int = Field(examples=[7712])
    """Number of pixels (time steps, pairs) at which the unit fires."""
    reason: str | None = Field(default=None, examples=["never fires"])
    """Reason why the unit was not explained; null if it was."""


class Unit(UnitSummary):
    """Unit with all details."""

    tree: FormulaNode | None = None
    """Formula as a tree."""
    threshold: float = Field(examples=[1.37])
    """Activation threshold: the unit fires where its activation exceeds this value."""
    scores: list[float] = Field(default_factory=list, examples=[[0.22, 0.28, 0.31]])
    """Best IoU for each length up to `max_length`; the first is that of a single concept."""
    formulas: list[str] = Field(default_factory=list, examples=[["car", "car OR road", "(car OR road) AND NOT dusk"]])
    """Formulas with these scores."""
    bound: float | None = Field(default=None, examples=[0.33])
    """If `optimal` is not true: upper bound of the IoU of all formulas of at most `max_length` concepts."""
    classes: list[ClassWeight] = Field(default_factory=list)
    """For a classifier: association with each class."""
    examples: list[UnitExample] = Field(default_factory=list)
    """Samples with the highest activations, highest first."""
    links: dict[str, str] = Field(
        default_factory=dict, examples=[{"image": "/v1/explanations/exp_4x8k2m9q0v7r3t6w1y5z/units/17/image"}]
    )
    """URLs to GET."""


class UnitPage(Page[UnitSummary]):
    """Page of units."""

    total: int = Field(examples=[192])
    """Number of units that match the request."""


class FoundUnit(UnitSummary):
    """Unit of a model, from one of its explanations."""

    explanation_id: str = Field(examples=["exp_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the explanation."""
    dataset_id: str = Field(examples=["dts_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the probe dataset."""

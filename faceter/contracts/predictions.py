"""Predictions: tensors or pictures in, classes, boxes or tensors out."""

from typing import Any

from pydantic import Field

from faceter.contracts.base import Contract


class TensorInputs(Contract):
    """JSON inputs of a predict request."""

    inputs: dict[str, Any] = Field(examples=[{"image": [[[[0.0, 0.5], [0.5, 1.0]]]]}])
    """A nested list of numbers for each input of the model, batch first."""


class ScoredLabel(Contract):
    """A class and how sure the model is."""

    index: int
    """Position in the output."""
    label: str = Field(examples=["cat"])
    """Its name; the index as text where the model has no labels."""
    score: float = Field(ge=0, le=1, examples=[0.93])
    """Softmax of the output."""


class Classification(ScoredLabel):
    """The classes of one input."""

    top: list[ScoredLabel]
    """The likeliest classes, best first."""


class Detection(Contract):
    """One box."""

    index: int
    """Position of the class."""
    label: str = Field(examples=["person"])
    """The class."""
    score: float = Field(ge=0, le=1)
    """How sure the model is."""
    box: list[float] = Field(min_length=4, max_length=4, examples=[[12.0, 30.5, 118.2, 201.0]])
    """Left, top, right, bottom, in the picture's own pixels."""


class Prediction(Contract):
    """What a model answered; which fields are there depends on its task."""

    model_id: str
    """The model that answered."""
    predictions: list[Classification] | None = None
    """For classifiers: one entry per input."""
    detections: list[list[Detection]] | None = None
    """For detectors: the boxes of each picture, best first."""
    outputs: dict[str, Any] | None = None
    """For everything else, or when asked for: every output as nested lists."""
    milliseconds: float
    """Time in the engine."""

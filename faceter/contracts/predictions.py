"""Predictions: tensors or images in, classes, boxes or tensors out."""

from typing import Any

from pydantic import Field

from faceter.contracts.base import Contract


class TensorInputs(Contract):
    """JSON inputs of a predict request."""

    inputs: dict[str, Any] = Field(examples=[{"image": [[[[0.0, 0.5], [0.5, 1.0]]]]}])
    """A nested list of numbers for each input of the model, batch first."""


class ScoredLabel(Contract):
    """A class and how sure the model is."""

    index: int = Field(examples=[3])
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

    index: int = Field(examples=[0])
    """Position of the class."""
    label: str = Field(examples=["person"])
    """The class."""
    score: float = Field(ge=0, le=1, examples=[0.87])
    """How sure the model is."""
    box: list[float] = Field(min_length=4, max_length=4, examples=[[12.0, 30.5, 118.2, 201.0]])
    """Left, top, right, bottom, in the image's own pixels."""


class Prediction(Contract):
    """What a model answered; which fields are there depends on its task."""

    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """The model that answered."""
    predictions: list[Classification] | None = None
    """For classifiers: one entry per input."""
    detections: list[list[Detection]] | None = Field(
        default=None, examples=[[[{"index": 0, "label": "person", "score": 0.87, "box": [12.0, 30.5, 118.2, 201.0]}]]]
    )
    """For detectors: the boxes of each image, best first."""
    outputs: dict[str, Any] | None = Field(default=None, examples=[{"logits": [[0.1, 2.3, -1.0]]}])
    """For everything else, or when asked for: every output as nested lists."""
    milliseconds: float = Field(examples=[2.1])
    """Time in the engine."""

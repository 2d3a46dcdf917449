"""Predictions: inputs are tensors, images or texts, results are classes, boxes, embeddings or tensors."""

from typing import Any

from pydantic import Field

from faceter.contracts.base import Contract


class TensorInputs(Contract):
    """JSON body of a predict request."""

    inputs: dict[str, Any] = Field(examples=[{"image": [[[[0.0, 0.5], [0.5, 1.0]]]]}])
    """Nested list of numbers for each input of the model, batch axis first."""


class TextInputs(Contract):
    """JSON body of a predict request for a model with a tokenizer; one of the two fields."""

    texts: list[str] | None = Field(default=None, examples=[["A dog runs.", "It rains."]])
    """Texts, for classification and embeddings."""
    text_pairs: list[list[str]] | None = Field(default=None, examples=[[["A dog runs.", "An animal moves."]]])
    """Pairs of texts, for classification of pairs."""


class ScoredLabel(Contract):
    """Class with its score."""

    index: int = Field(examples=[3])
    """Index in the output."""
    label: str = Field(examples=["cat"])
    """Name of the class; the index as text if the model has no labels."""
    score: float = Field(ge=0, le=1, examples=[0.93])
    """Probability of the class (softmax of the output)."""


class Classification(ScoredLabel):
    """Predicted class of one input."""

    top: list[ScoredLabel]
    """Classes with the highest scores, highest first."""


class InstanceMask(Contract):
    """Mask of an object, as COCO writes it: read it with `pycocotools.mask.decode`."""

    size: list[int] = Field(min_length=2, max_length=2, examples=[[480, 640]])
    """Height and width of the image in pixels; for JSON tensors, of the model input."""
    counts: str = Field(examples=["k0160"])
    """Run lengths column by column, in COCO's compressed form."""


class Detection(Contract):
    """Detected box."""

    index: int = Field(examples=[0])
    """Index of the class."""
    label: str = Field(examples=["person"])
    """Name of the class."""
    score: float = Field(ge=0, le=1, examples=[0.87])
    """Score of the box."""
    box: list[float] = Field(min_length=4, max_length=4, examples=[[12.0, 30.5, 118.2, 201.0]])
    """Left, top, right, bottom, in pixels of the uploaded image; for JSON tensors, of the model input."""
    mask: InstanceMask | None = None
    """For models with instance masks: the object's pixels within the box."""
    keypoints: list[list[float]] | None = Field(default=None, examples=[[[60.2, 41.0, 0.98], [55.1, 38.7, 0.91]]])
    """For models with key points: x and y of each, in pixels as those of the box, and its visibility if the model has
    one."""


class RecognizedText(Contract):
    """Text in an image."""

    text: str = Field(examples=["Hello"])
    """The text."""
    score: float = Field(ge=0, le=1, examples=[0.97])
    """Mean probability of its characters; 0 for an empty text."""


class Prediction(Contract):
    """Result of a predict request; which fields are present depends on the task of the model."""

    model_id: str = Field(examples=["mdl_4x8k2m9q0v7r3t6w1y5z"])
    """Id of the model."""
    predictions: list[Classification] | None = None
    """For classifiers: one entry per input."""
    detections: list[list[Detection]] | None = Field(
        default=None, examples=[[[{"index": 0, "label": "person", "score": 0.87, "box": [12.0, 30.5, 118.2, 201.0]}]]]
    )
    """For detectors: boxes of each image, highest score first."""
    embeddings: list[list[float]] | None = Field(default=None, examples=[[[0.12, -0.03, 0.41]]])
    """For the task `text_embedding`: one vector per text, pooled and normalized as the metadata say."""
    truncated: list[int] | None = Field(default=None, examples=[[3]])
    """Positions of the texts that had more tokens than the model takes; only their beginning was used."""
    texts: list[RecognizedText] | None = None
    """For text recognizers: the text in each image."""
    outputs: dict[str, Any] | None = Field(default=None, examples=[{"logits": [[0.1, 2.3, -1.0]]}])
    """For other tasks, or on request: every output, in JSON as nested lists."""
    milliseconds: float = Field(examples=[2.1])
    """Inference time in milliseconds."""

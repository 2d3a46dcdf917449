"""Texts: how they become the inputs of a model, and how its output becomes an embedding."""

from enum import StrEnum

from pydantic import Field

from faceter.contracts.base import Contract

LONGEST_MAX_LENGTH = 8192
"""Largest `max_length`."""

DEFAULT_MAX_LENGTH = 512
"""Maximum number of tokens of a text, special ones included, unless the metadata say more."""


class Pooling(StrEnum):
    """How the vectors of a text's tokens become one."""

    MEAN = "mean"
    """Mean over the tokens, padding left out."""
    CLS = "cls"
    """Vector of the first token."""
    MODEL = "model"
    """None: the output of the model is one vector for each text."""


class TextProcessing(Contract):
    """Conversion of texts to the inputs of a model by its `tokenizer.json`, and of its output to embeddings.

    On upload, what is not said is found and stored.
    """

    input_ids: str | None = Field(default=None, max_length=200, examples=["input_ids"])
    """Name of the input for token ids; by default it is found by its name (`input_ids`, `input_word_ids`, `token_ids`,
    `tokens`, `ids`), or is the only input."""
    attention_mask: str | None = Field(default=None, max_length=200, examples=["attention_mask"])
    """Name of the input that is 1 for tokens and 0 for padding; by default found by its name (`attention_mask`,
    `input_mask`, `mask`). A model without it gets one text at a time."""
    token_type_ids: str | None = Field(default=None, max_length=200, examples=["token_type_ids"])
    """Name of the input that is 0 for the first text and 1 for the second; by default found by its name
    (`token_type_ids`, `segment_ids`, `input_type_ids`, `type_ids`)."""
    position_ids: str | None = Field(default=None, max_length=200, examples=["position_ids"])
    """Name of the input for positions, from 0; by default found by its name (`position_ids`)."""
    max_length: int | None = Field(default=None, ge=3, le=LONGEST_MAX_LENGTH, examples=[256])
    """Maximum number of tokens of an input, special ones included; longer texts are truncated. By default that of the
    tokenizer, at most 512 and what the model takes."""
    pooling: Pooling | None = None
    """For embeddings: how the vectors of tokens become one; by default `mean` for an output [N, length, size], and
    `model` for [N, size]."""
    normalize: bool = False
    """For embeddings: whether vectors are scaled to length 1."""

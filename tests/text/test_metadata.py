from dataclasses import replace
from typing import Any

import pytest

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ModelMetadata, TensorSpec
from faceter.contracts.text import Pooling, TextProcessing
from faceter.text.metadata import complete_text_processing, text_sources
from tests.text.test_inputs import RIGHT, spec

INPUTS = [spec("input_ids"), spec("attention_mask")]
FIXED = [spec("input_ids", "batch", 48), spec("attention_mask", "batch", 48)]
TOKENS = TensorSpec(name="tokens", dtype="float32", shape=["batch", "length", 6])
POOLED = TensorSpec(name="pooled", dtype="float32", shape=["batch", 6])


def completed(
    text: dict[str, Any] | None = None,
    *,
    task: str = "text_embedding",
    inputs: list[TensorSpec] = INPUTS,
    outputs: tuple[TensorSpec, ...] = (TOKENS, POOLED),
    max_length: int | None = None,
    output: str | None = None,
) -> TextProcessing:
    metadata = ModelMetadata.model_validate({"task": task, "text": text, "output": output})
    return complete_text_processing(metadata, inputs, outputs, replace(RIGHT, max_length=max_length))


def test_what_is_not_said_is_found() -> None:
    found = completed()
    assert (found.input_ids, found.attention_mask, found.token_type_ids) == ("input_ids", "attention_mask", None)
    assert (found.max_length, found.pooling, found.normalize) == (512, Pooling.MEAN, False)
    assert completed(output="pooled").pooling is Pooling.MODEL
    assert completed(task="text_classification").pooling is None


@pytest.mark.parametrize(
    ("said", "of_tokenizer", "inputs", "expected"),
    [
        (None, None, INPUTS, 512),
        (None, 128, INPUTS, 128),
        (None, 10**30, INPUTS, 512),
        (None, 128, FIXED, 48),
        (None, 32, FIXED, 32),
        (1024, 128, INPUTS, 1024),
        (16, 128, FIXED, 16),
    ],
)
def test_the_maximum_length_is_bounded(
    said: int | None, of_tokenizer: int | None, inputs: list[TensorSpec], expected: int
) -> None:
    text = None if said is None else {"max_length": said}
    assert completed(text, inputs=inputs, max_length=of_tokenizer).max_length == expected


@pytest.mark.parametrize(
    ("text", "changes", "field", "words"),
    [
        ({"max_length": 49}, {"inputs": FIXED}, "metadata.text.max_length", "takes 48 tokens"),
        ({"pooling": "model"}, {}, "metadata.text.pooling", "needs an output [N, size], but 'tokens' has 3 axes"),
        ({"pooling": "cls"}, {"output": "pooled"}, "metadata.text.pooling", "needs an output [N, length, size]"),
        ({"input_ids": "x"}, {}, "metadata.text.input_ids", "no input 'x'"),
        (None, {"outputs": (spec("y", "n", 1, 1, 4),)}, "metadata.output", "'y' has 4 axes"),
    ],
)
def test_contradictions_are_refused(
    text: dict[str, Any] | None, changes: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(FaceterError) as caught:
        completed(text, **changes)
    assert caught.value.kind is ProblemKind.METADATA_MISMATCH
    assert words in caught.value.detail
    assert caught.value.errors[0].field == field


def test_sources_tell_what_was_said_from_what_was_found() -> None:
    said = TextProcessing(max_length=64, normalize=True)
    assert text_sources(said, completed({"max_length": 64, "normalize": True}), RIGHT) == {
        "text": "said",
        "text.input_ids": "inferred",
        "text.attention_mask": "inferred",
        "text.pooling": "inferred",
    }
    assert text_sources(None, completed(), RIGHT) == {"text": "inferred"}
    of_tokenizer = replace(RIGHT, max_length=100)
    assert text_sources(None, completed(max_length=100), of_tokenizer) == {
        "text": "inferred",
        "text.max_length": "file",
    }

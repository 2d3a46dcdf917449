"""Predictions for texts: tokens in, classes, embeddings or raw outputs out."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Model, Task
from faceter.contracts.predictions import Classification, Prediction
from faceter.contracts.text import TextProcessing
from faceter.engines.base import Array, Interrupt, LoadedModel
from faceter.text.embeddings import embed
from faceter.text.inputs import TokenInputs, find_token_inputs, token_mask
from faceter.text.tokenizer import TOKENIZER, Text, TokenizedText, Tokenizer
from faceter.vision.classification import softmax_top
from faceter.vision.metadata import class_output

TEXTS: Final = "texts"
PAIRS: Final = "text_pairs"

_TOKENS_PER_RUN: Final = 8192
_SINGLE_TASKS: Final = (Task.TEXT_CLASSIFICATION, Task.TEXT_EMBEDDING)


def texts_of(document: Mapping[str, Any], *, most: int) -> list[Text] | None:
    """Return the texts or pairs of a JSON body; None if it has neither.

    Args:
        document: The body.
        most: Maximum number of texts.

    Raises:
        FaceterError: ``INVALID_REQUEST`` if they are given in another form; ``INVALID_INPUT`` for none or too many.
    """
    name = next((name for name in (TEXTS, PAIRS) if name in document), None)
    if name is None:
        return None
    for other in document:
        if other != name:
            raise _invalid_request(f"There is no field {other[:100]!r} beside `{name}`.", other[:100])
    values = document[name]
    if not isinstance(values, list) or not all(_is_text(value, name) for value in values):
        expected = '["a text", …]' if name == TEXTS else '[["a text", "another"], …]'
        raise _invalid_request(f'`{name}` must be a list: {{"{name}": {expected}}}.', name)
    if not 1 <= len(values) <= most:
        raise FaceterError(
            ProblemKind.INVALID_INPUT, f"There are {len(values):,} texts; send 1 to {most:,} at a time.", field=name
        )
    return [value if isinstance(value, str) else (value[0], value[1]) for value in values]


def validate_form(model: Model, texts: Sequence[Text]) -> TextProcessing:
    """Check that a model takes texts in this form, and return how.

    Raises:
        FaceterError: ``INVALID_INPUT``.
    """
    pairs = not isinstance(texts[0], str)
    name, task = PAIRS if pairs else TEXTS, model.metadata.task
    if TOKENIZER not in model.files or model.metadata.text is None:
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            "The model has no tokenizer, so texts cannot be converted to its inputs. Upload it again with its "
            'tokenizer.json (curl: -F tokenizer=@tokenizer.json), or send tensors: {"inputs": {…}}.',
            field=name,
        )
    if (pairs and task in _SINGLE_TASKS) or (not pairs and task is Task.TEXT_PAIR_CLASSIFICATION):
        raise FaceterError(
            ProblemKind.INVALID_INPUT,
            f"The task of the model is {task}; send `{TEXTS if pairs else PAIRS}` in place of `{name}`.",
            field=name,
        )
    return model.metadata.text


@dataclass
class _Results:
    """What several runs give, in the order of the texts."""

    predictions: list[Classification] = field(default_factory=list)
    embeddings: list[list[float]] = field(default_factory=list)
    outputs: dict[str, list[Any]] = field(default_factory=dict)
    seconds: float = 0.0


def predict_texts(
    model: Model,
    loaded: LoadedModel,
    tokenizer: Tokenizer,
    texts: Sequence[Text],
    *,
    top_k: int,
    raw: bool,
    interrupt: Interrupt,
) -> Prediction:
    """Return the prediction of a model for texts.

    Each run takes at most 8192 tokens, padding included. A model without a mask gets one text at a time.

    Args:
        model: A model with a tokenizer.
        loaded: The same, loaded.
        tokenizer: Its tokenizer.
        texts: Texts or pairs, at least one.
        top_k: Number of most likely classes to return.
        raw: Whether to return the raw outputs too.
        interrupt: Interrupts inference.

    Raises:
        FaceterError: ``INVALID_INPUT``, ``INFERENCE_FAILED``.
    """
    processing, task = validate_form(model, texts), model.metadata.task
    assert processing.max_length is not None
    found = find_token_inputs(processing, model.inputs)
    try:
        tokens = tokenizer.tokenize(texts, processing.max_length)
    except FaceterError as error:
        raise error.at(TEXTS if isinstance(texts[0], str) else PAIRS) from error
    results = _Results()
    raw = raw or not (task.classifies or task is Task.TEXT_EMBEDDING)
    length = found.length(tokens) if raw and found.masked else None
    for group, rows in _groups(tokens, found, length):
        padded = found.length(group) if length is None else length
        inputs = found.arrays([*group, *[group[0]] * (rows - len(group))], tokenizer.properties, padded)
        started = time.perf_counter()
        outputs = loaded.run(inputs, interrupt=interrupt)
        results.seconds += time.perf_counter() - started
        outputs = {name: _rows(value, rows, len(group)) for name, value in outputs.items()}
        mask = token_mask(group, padded, tokenizer.properties, special=True)
        _add(results, model, processing, outputs, mask, loaded.probability_outputs, top_k=top_k, raw=raw)
    truncated = [index for index, text in enumerate(tokens) if text.truncated]
    return Prediction(
        model_id=model.id,
        predictions=results.predictions if task.classifies else None,
        embeddings=results.embeddings if task is Task.TEXT_EMBEDDING else None,
        outputs=results.outputs if raw else None,
        truncated=truncated or None,
        milliseconds=round(results.seconds * 1000, 3),
    )


def _add(
    results: _Results,
    model: Model,
    processing: TextProcessing,
    outputs: Mapping[str, Array],
    mask: NDArray[np.bool_],
    probability_outputs: frozenset[str],
    *,
    top_k: int,
    raw: bool,
) -> None:
    """Add the outputs of one run to the results."""
    name = class_output(model.metadata, model.outputs).name
    output = outputs[name]
    if model.metadata.task.classifies:
        results.predictions += softmax_top(
            output, model.metadata.labels, top_k, are_probabilities=name in probability_outputs
        )
    elif model.metadata.task is Task.TEXT_EMBEDDING:
        vectors = embed(output, mask, processing)
        if not np.isfinite(vectors).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED, "The model returned values that are not finite (NaN or infinite)."
            )
        results.embeddings += vectors.tolist()
    if raw:
        for name, value in outputs.items():
            results.outputs.setdefault(name, []).extend(np.atleast_1d(value).tolist())


def _groups(
    tokens: Sequence[TokenizedText], found: TokenInputs, length: int | None
) -> Iterator[tuple[Sequence[TokenizedText], int]]:
    """Yield texts for one run each, with the number of rows of its inputs."""
    fixed = found.ids.shape[0] if isinstance(found.ids.shape[0], int) else None
    start = 0
    while start < len(tokens):
        stop = start + 1
        while stop < len(tokens) and found.masked:
            longest = length or found.length(tokens[start : stop + 1])
            if (stop + 1 - start) * longest > _TOKENS_PER_RUN and fixed is None:
                break
            if fixed is not None and stop - start == fixed:
                break
            stop += 1
        group = tokens[start:stop]
        yield group, fixed or len(group)
        start = stop


def _rows(value: Array, rows: int, count: int) -> Array:
    """Return an output without the rows that pad a fixed batch size."""
    return value[:count] if value.ndim and value.shape[0] == rows else value


def _is_text(value: object, name: str) -> bool:
    if name == TEXTS:
        return isinstance(value, str)
    return isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)


def _invalid_request(detail: str, field: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_REQUEST, detail, field=field)

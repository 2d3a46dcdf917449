"""Checks a file ``tokenizer.json`` before the package tokenizers reads it."""

from typing import Any, Final

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.json_text import NotJsonError, read_json

_REMEDY: Final = (
    "Upload the file tokenizer.json, which lies beside the model or is written by "
    "tokenizer.save_pretrained(FOLDER) of transformers (a tokenizer of its fast kind)."
)
_MODELS: Final = ("BPE", "WordPiece", "Unigram", "WordLevel")
_MOST_STEPS: Final = 64
_MOST_TOKENS: Final = 4_000_000


def check_tokenizer_file(content: bytes) -> None:
    """Check that a file has the form of a ``tokenizer.json``.

    The process that loads it is bounded in any case; this says what is wrong, and refuses what no tokenizer has.

    Raises:
        FaceterError: ``INVALID_TOKENIZER``.
    """
    if not content:
        raise _invalid("The file is empty.")
    try:
        document = read_json(content)
    except NotJsonError as error:
        raise _invalid(f"The file is not JSON: {error}.") from error
    model = document.get("model") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(model, dict):
        raise _invalid("The file has no `model`, so it is another file than tokenizer.json.")
    if "type" in model and model["type"] not in _MODELS:
        raise _invalid(f"The file has a model of type {str(model['type'])[:100]!a}; known are {', '.join(_MODELS)}.")
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, dict | list) or not vocabulary:
        raise _invalid("The vocabulary in the file's `model` is missing or empty.")
    if len(vocabulary) > _MOST_TOKENS:
        raise _invalid(f"The vocabulary has {len(vocabulary):,} tokens; it may have {_MOST_TOKENS:,}.")
    for part in ("normalizer", "pre_tokenizer"):
        steps = _count_steps(document.get(part))
        if steps > _MOST_STEPS:
            raise _invalid(f"Its {part} has {steps:,} steps; it may have {_MOST_STEPS}.")


def _count_steps(part: Any) -> int:
    """Return the number of steps of a normalizer or pre-tokenizer, those of its sequences included."""
    if not isinstance(part, dict):
        return 0
    inner = [step for name in ("normalizers", "pretokenizers") for step in _list(part.get(name))]
    return 1 + sum(_count_steps(step) for step in inner)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _invalid(reason: str) -> FaceterError:
    return FaceterError(ProblemKind.INVALID_TOKENIZER, f"{reason} {_REMEDY}")

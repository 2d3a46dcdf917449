"""Reads ``concepts.json``: the names of the concepts of each category."""

import json
from collections.abc import Sequence

from faceter.contracts.base import check_name, composed
from faceter.contracts.json_text import NotJsonError, read_json
from faceter.datasets.errors import invalid_dataset
from faceter.datasets.names import folded

CONCEPTS = "concepts.json"

_LONGEST_NAME = 100
_MAX_NAMES = 65_535


def read_categories(content: bytes) -> dict[str, list[str]]:
    """Return the names of the concepts by category, all different.

    Args:
        content: ``concepts.json``.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    try:
        document = read_json(content)
    except NotJsonError as error:
        raise invalid_dataset(f"{CONCEPTS} is not JSON: {error}.") from error
    if not isinstance(document, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in document.values()
    ):
        raise invalid_dataset(f'{CONCEPTS} must list the names of each category: {{"object": ["sky", "road"]}}.')
    if not document:
        raise invalid_dataset(f"{CONCEPTS} names no categories. Name one at least, with its concepts.")
    # read_json keeps the last of equal keys
    keys: list[str] = [key for key, _ in json.loads(content.decode("utf-8-sig"), object_pairs_hook=list)]
    _validate_distinct([(composed(key), f"the category '{key}'") for key in keys])
    categories = {composed(key): [_validated_name(name, key) for name in document[key]] for key in keys}
    for category, names in categories.items():
        _validate_category(category, names)
    _validate_distinct(
        [(name, f"'{name}' of '{category}'") for category, names in categories.items() for name in names]
    )
    return categories


def _validate_category(category: str, names: Sequence[str]) -> None:
    if "/" in category or not _is_name(category) or category != category.strip():
        raise invalid_dataset(
            f"{CONCEPTS} names a category {escaped(category)}; it must be the name of a folder, of 1 to "
            f"{_LONGEST_NAME} printable characters."
        )
    if not names:
        raise invalid_dataset(f"Category '{category}' of {CONCEPTS} has no concepts. Name some, or leave it out.")
    if len(names) > _MAX_NAMES:
        raise invalid_dataset(
            f"Category '{category}' of {CONCEPTS} has {len(names):,} concepts; it may have {_MAX_NAMES:,}, the "
            "largest 16-bit number."
        )


def _validated_name(name: str, category: str) -> str:
    if not _is_name(name):
        raise invalid_dataset(
            f"Category {escaped(category)} of {CONCEPTS} has a concept {escaped(name)}; a name has 1 to "
            f"{_LONGEST_NAME} printable characters."
        )
    return composed(name.strip())


def _is_name(text: str) -> bool:
    try:
        return len(check_name(text)) <= _LONGEST_NAME
    except ValueError:
        return False


def _validate_distinct(described: Sequence[tuple[str, str]]) -> None:
    """Check that names, each with its description, differ in more than case."""
    seen: dict[str, str] = {}
    for name, description in described:
        if folded(name) in seen:
            raise invalid_dataset(
                f"{CONCEPTS} has {seen[folded(name)]} and {description}. Formulas refer to concepts by name, so "
                "names must differ, and in more than upper and lower case."
            )
        seen[folded(name)] = description


def escaped(text: str) -> str:
    """Return the start of a text in quotes, in ASCII, for problem details."""
    return f"{text[:_LONGEST_NAME]!a}"

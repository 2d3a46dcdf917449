"""Names as they are compared: equal letters are equal however they are encoded."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from faceter.contracts.base import composed

_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)


def folded(text: str) -> str:
    """Return a text as it is compared without regard to upper and lower case."""
    return composed(composed(text).casefold())


def label_positions(labels: Sequence[str]) -> dict[str, int]:
    """Return the position of each label of a model, by its composed form; of equal labels the first."""
    return {composed(label): number for number, label in reversed(list(enumerate(labels)))}


def numbered_names(names: Iterable[str]) -> dict[str, int] | None:
    """Return the numbers that names are, such as ``0`` or ``007``; None if one is no number, or two are the same."""
    texts = list(names)
    if not all(_NUMBER.fullmatch(text) for text in texts):
        return None
    numbers = {text: int(text) for text in texts}
    return numbers if len(set(numbers.values())) == len(texts) else None

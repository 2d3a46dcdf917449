"""Reads ``vocab.txt``, the ids of words, and ``vectors.txt``, word vectors in the format of GloVe."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.base import composed
from faceter.datasets.errors import invalid_dataset
from faceter.datasets.pairs_file import line_error

VOCABULARY, VECTORS = "vocab.txt", "vectors.txt"

PADDING, UNKNOWN = 0, 1
"""Ids of padding and of every word that is not in the vocabulary."""


@dataclass(frozen=True)
class WordVector:
    """A line of ``vectors.txt``."""

    word: str
    vector: NDArray[np.float32]
    fraction: float
    """Fraction of the file read so far."""


def read_vocabulary(lines: Iterable[tuple[int, str]]) -> dict[str, int]:
    """Return the id of each word in composed Unicode, its line from 0; of two lines with equal letters the first.

    Args:
        lines: The lines of the file with their numbers from 1.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the line at fault.
    """
    lines_of: dict[str, int] = {}
    ids: dict[str, int] = {}
    for line, text in lines:
        if len(text.split()) != 1:
            what = "holds more than one word" if text.strip() else "is empty"
            raise line_error(VOCABULARY, line, f"{what}. A word a line: its number, from 0, is the word's id")
        word = text.strip()
        if word in lines_of:
            raise line_error(VOCABULARY, line, f"has '{word}' again, which is on line {lines_of[word]} already")
        lines_of[word] = line
        ids.setdefault(composed(word), line - 1)
    if len(ids) <= UNKNOWN:
        raise invalid_dataset(
            f"{VOCABULARY} needs two lines at least: the first pads, the second is for unknown words."
        )
    return ids


def read_vectors(lines: Iterable[tuple[int, str]], size: int) -> Iterator[WordVector]:
    """Yield the words and their vectors, all of one length.

    Args:
        lines: The lines of the file with their numbers from 1.
        size: Of the file, bytes.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the line at fault.
    """
    seen: set[str] = set()
    length = read = 0
    for line, text in lines:
        read += len(text) + 1
        if not text.strip():
            continue
        word, *numbers = text.rstrip().split(" ")
        if seen and len(numbers) != length:
            raise line_error(VECTORS, line, f"has {len(numbers)} numbers after its word, the first has {length}")
        if not word or not numbers:
            raise line_error(VECTORS, line, "must be a word and its numbers, separated by single blanks")
        if word in seen:
            raise line_error(VECTORS, line, f"has '{word}' again")
        is_new = composed(word) not in seen
        seen.update((word, composed(word)))
        length = len(numbers)
        if is_new:
            yield WordVector(composed(word), _vector(numbers, line), min(read / size, 1.0))
    if not seen:
        raise invalid_dataset(f"{VECTORS} is empty. Put a word and its numbers on each line, or leave it out.")


def _vector(numbers: Sequence[str], line: int) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            values = np.array([float(number) for number in numbers], np.float32)
    except ValueError as error:
        raise line_error(VECTORS, line, "holds a value that is not a number") from error
    if not np.isfinite(values).all():
        raise line_error(VECTORS, line, "holds a number that is not finite")
    return values

"""Reads ``image_labels.csv``: the concepts of whole images."""

from collections.abc import Iterator, Sequence
from typing import Final

from faceter.datasets.concept_names import CONCEPTS, escaped
from faceter.datasets.errors import invalid_dataset
from faceter.datasets.text_files import decoded_text, table_rows

IMAGE_LABELS = "image_labels.csv"

_HEADER: Final = ["image", "category", "concept"]
_MAX_PROBLEMS = 5


def read_image_concepts(
    content: bytes, positions: dict[str, int], categories: dict[str, list[str]]
) -> Iterator[tuple[int, int]]:
    """Yield the position of an image and the number of a concept for each row of ``image_labels.csv``.

    Args:
        content: The file.
        positions: Position of each image by its names.
        categories: Names of the concepts of each category.

    Raises:
        FaceterError: ``INVALID_DATASET`` naming the first lines at fault.
    """
    numbers: dict[str, dict[str, int]] = {}
    start = 0
    for category, names in categories.items():
        numbers[category] = {name: start + place for place, name in enumerate(names)}
        start += len(names)
    problems: list[str] = []
    for line, row in _rows(content):
        problem = _problem(row, positions, numbers)
        if problem is None:
            image, category, concept = row
            yield positions[image], numbers[category][concept]
            continue
        problems.append(f"line {line} {problem}")
        if len(problems) > _MAX_PROBLEMS:
            break
    if problems:
        more = " And more." if len(problems) > _MAX_PROBLEMS else ""
        raise invalid_dataset(f"{IMAGE_LABELS}: {'; '.join(problems[:_MAX_PROBLEMS])}.{more}")


def _problem(row: Sequence[str], positions: dict[str, int], numbers: dict[str, dict[str, int]]) -> str | None:
    """Return the problem of a row; None if it is valid."""
    if len(row) != len(_HEADER):
        return f"has {len(row)} value{'s' if len(row) > 1 else ''}, not {len(_HEADER)}"
    image, category, concept = row
    if image not in positions:
        return f"is of the image {escaped(image)}, which is not in images/"
    if category not in numbers:
        return f"is of the category {escaped(category)}, which {CONCEPTS} does not name"
    if concept not in numbers[category]:
        return f"says {escaped(concept)}, which is no concept of '{category}'"
    return None


def _rows(content: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows after the header with their line numbers."""
    rows = table_rows(decoded_text(content, IMAGE_LABELS), IMAGE_LABELS)
    _, header = next(rows, (1, []))
    if [name.lower() for name in header] != _HEADER:
        raise invalid_dataset(
            f"The first line of {IMAGE_LABELS} must be {','.join(_HEADER)}, or the same with semicolons or tabs."
        )
    yield from rows

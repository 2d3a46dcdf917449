"""The units of explanations: reading, filtering, sorting and paging."""

import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

from cachetools import LRUCache
from pydantic import AfterValidator, Field, NonNegativeInt, TypeAdapter

from app.services.errors import invalid
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation
from faceter.contracts.units import FoundUnit, Unit, UnitPage, UnitSummary
from faceter.datasets.errors import quoted_names
from faceter.datasets.names import folded
from faceter.explanations.formulas import concepts_of
from faceter.explanations.units import no_such_unit, read_units
from faceter.store.blobs import BlobStore
from faceter.store.cursors import decode_cursor, encode_cursor, foreign_cursor

SORTED_BY: Final = ("score", "ceiling", "concept_score", "gain", "length", "firings", "unit")
"""Sort keys of units."""

_FORMULA_KEYS: Final = SORTED_BY[:5]
CACHE_BYTES: Final = 32 * 2**20
"""Maximum size of the cached unit files, bytes."""

_POSITION: Final[TypeAdapter[tuple[str, NonNegativeInt]]] = TypeAdapter(tuple[str, NonNegativeInt])


def _check_order(sort: str) -> str:
    if sort.removeprefix("-") not in SORTED_BY:
        raise ValueError(f"must be one of {', '.join(SORTED_BY)}, or - and one of them")
    return sort


class UnitFilter(Contract):
    """Which units to list."""

    layer: str | None = Field(default=None, examples=["relu_12"])
    """Only units of this layer."""
    concept: str | None = Field(default=None, min_length=1, max_length=1000, examples=["car"])
    """Only units whose formula names this concept, in upper or lower case."""
    formula: str | None = Field(default=None, min_length=1, max_length=1000, examples=["AND NOT dusk"])
    """Only units whose formula contains this text; case is ignored."""
    min_score: float | None = Field(default=None, ge=0, le=1, examples=[0.1])
    """Only units whose formula has at least this IoU."""

    def matches(self, unit: Unit) -> bool:
        """Return whether a unit matches."""
        return (
            (self.layer is None or unit.layer == self.layer)
            and (self.min_score is None or unit.score >= self.min_score)
            and (self.formula is None or folded(self.formula) in folded(unit.formula or ""))
            and (self.concept is None or folded(self.concept) in _concepts(unit))
        )

    def digest(self, resource_id: str) -> str:
        """Return a digest of a filtered list of a resource, which its cursors contain."""
        text = self.model_dump_json(exclude={"limit", "cursor"})
        return hashlib.sha256(f"{resource_id} {text}".encode()).hexdigest()[:16]


class UnitOrder(UnitFilter):
    """Which units to list, and in what order."""

    sort: Annotated[str, AfterValidator(_check_order)] | None = Field(default=None, examples=["-score", "gain"])
    """By what to sort: `score`, `ceiling`, `concept_score`, `gain` (`score` − `concept_score`), `length`, `firings` or
    `unit`, the smallest first, or with `-` before it the largest (`-score`). Units left unexplained come last, but by
    `firings` and `unit`. By layer and unit if not given."""


class UnitReader:
    """Thread-safe reader of the units of explanations, with an LRU cache.

    Args:
        blobs: The blob store.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._cache: LRUCache[str, tuple[int, list[Unit]]] = LRUCache(CACHE_BYTES, getsizeof=lambda entry: entry[0])

    def read(self, explanation: Explanation) -> list[Unit]:
        """Return all units of an explanation, layer after layer, in the order of the request. Do not modify them.

        Raises:
            FaceterError: `BLOB_MISSING`.
        """
        key = explanation.sha256
        path = self._blobs.path(key)
        with self._lock:
            cached = self._cache.get(key)
        if cached is not None:
            return cached[1]
        units = read_units(path)
        with self._lock, suppress(ValueError):  # a file larger than the cache is not cached
            self._cache[key] = (explanation.bytes, units)
        return units


def unit_page(
    units: Sequence[Unit], explanation: Explanation, query: UnitOrder, limit: int, cursor: str | None
) -> UnitPage:
    """Return one page of the matching units.

    Args:
        units: All units of the explanation.
        query: Filter and order.
        limit: Maximum number of items, at least 1.
        cursor: `next_cursor` of the previous page.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor` if it belongs to another list, on `layer` if it was not
            explained.
    """
    if query.layer is not None:
        check_layer(explanation, query.layer)
    digest = query.digest(explanation.id)
    cursor_digest, start = decode_cursor(_POSITION, cursor) if cursor else (digest, 0)
    if cursor_digest != digest:
        raise foreign_cursor()
    matching = _ordered([unit for unit in units if query.matches(unit)], explanation, query.sort)
    end = start + limit
    return UnitPage(
        items=[unit_summary(unit) for unit in matching[start:end]],
        next_cursor=encode_cursor(_POSITION, (digest, end)) if end < len(matching) else None,
        total=len(matching),
    )


def find_unit(units: Sequence[Unit], explanation: Explanation, number: int, layer: str | None) -> tuple[Unit, int]:
    """Return a unit and its row among the explained units of its layer.

    Args:
        units: All units of the explanation.
        number: Index of the unit in its layer.
        layer: The layer; optional if the explanation has only one.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `layer`, listing the explained layers; `NOT_FOUND`, with the number
            of units.
    """
    layers = explanation.settings.layers
    if layer is None:
        if len(layers) > 1:
            raise invalid(
                f"{explanation.id} explains several layers: choose one by `?layer=`: {quoted_names(layers, 50)}.",
                "layer",
            )
        layer = layers[0]
    check_layer(explanation, layer)
    in_layer = [unit for unit in units if unit.layer == layer]
    for row, unit in enumerate(in_layer):
        if unit.unit == number:
            return unit, row
    raise FaceterError(ProblemKind.NOT_FOUND, _no_such_unit(explanation, layer, number, len(in_layer)))


def check_layer(explanation: Explanation, layer: str) -> None:
    """Check that a layer was explained.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `layer`, listing the explained layers.
    """
    layers = explanation.settings.layers
    if layer not in layers:
        raise invalid(
            f"{explanation.id} does not explain a layer {layer[:200]!r}, but {quoted_names(layers, 50)}.", "layer"
        )


def unit_summary(unit: Unit) -> UnitSummary:
    """Return the summary of a unit, for lists."""
    return UnitSummary(**{name: getattr(unit, name) for name in UnitSummary.model_fields})


def to_found_unit(explanation: Explanation, unit: Unit) -> FoundUnit:
    """Return the summary of a unit, for lists over all explanations of a model."""
    return FoundUnit(
        **{name: getattr(unit, name) for name in UnitSummary.model_fields},
        explanation_id=explanation.id,
        dataset_id=explanation.settings.dataset_id,
    )


def _concepts(unit: Unit) -> set[str]:
    return set() if unit.tree is None else {folded(name) for name in concepts_of(unit.tree)}


def _ordered(units: list[Unit], explanation: Explanation, sort: str | None) -> list[Unit]:
    """Return units sorted by ``sort``, with ties in order of layer and unit."""
    layer_order = {layer: number for number, layer in enumerate(explanation.settings.layers)}
    name, sign = (sort or "").removeprefix("-"), -1 if sort is not None and sort.startswith("-") else 1

    def rank(unit: Unit) -> tuple[bool, float, int, int]:
        last = name in _FORMULA_KEYS and unit.formula is None
        value = sign * _value(unit, name) if sort is not None and not last else 0.0
        return last, value, layer_order[unit.layer], unit.unit

    return sorted(units, key=rank)


def _value(unit: Unit, name: str) -> float:
    value: float = unit.score - unit.concept_score if name == "gain" else getattr(unit, name)
    return value


def _no_such_unit(explanation: Explanation, layer: str, unit: int, explained: int) -> str:
    count = next((summary.shape[0] for summary in explanation.layers if summary.layer == layer), explained)
    if unit >= count:
        return no_such_unit(layer, count, unit)
    return (
        f"{explanation.id} explains {explained:,} of the {count:,} units of {layer!r}; unit {unit} is not one of them."
    )

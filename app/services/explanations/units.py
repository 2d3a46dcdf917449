"""The units of explanations: read from their files, filtered, sorted, a page of them, one of them."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import AfterValidator, Field, NonNegativeInt, TypeAdapter

from app.services.paging import decode_cursor, encode_cursor
from app.services.sources import invalid
from faceter.contracts.base import Contract
from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.explanations import Explanation, FoundUnit, Unit, UnitPage, UnitSummary
from faceter.datasets.samples import first_few
from faceter.explanations.formulas import concepts_of
from faceter.explanations.units import read_units
from faceter.store.blobs import BlobStore
from faceter.store.newest_first import not_our_cursor

SORTED_BY: Final = ("score", "ceiling", "concept_score", "gain", "length", "firings", "unit")
"""What units can be sorted by."""

_OF_FORMULAS: Final = SORTED_BY[:5]
_MOST_KEPT: Final = 16
_MOST_KEPT_BYTES: Final = 32 * 2**20
_PLACE: Final[TypeAdapter[tuple[str, NonNegativeInt]]] = TypeAdapter(tuple[str, NonNegativeInt])


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
    min_score: float | None = Field(default=None, ge=0, le=1, examples=[0.1])
    """Only units whose formula has at least this IoU."""

    def wants(self, unit: Unit) -> bool:
        """Whether a unit is one of those."""
        return (
            (self.layer is None or unit.layer == self.layer)
            and (self.min_score is None or unit.score >= self.min_score)
            and (self.concept is None or self.concept.casefold() in _concepts(unit))
        )

    def digest(self, of: str) -> str:
        """Return what tells apart the lists that such filters make ``of`` something, for their cursors."""
        said = self.model_dump_json(exclude={"limit", "cursor"})
        return hashlib.sha256(f"{of} {said}".encode()).hexdigest()[:16]


class UnitOrder(UnitFilter):
    """Which units to list, and in what order."""

    sort: Annotated[str, AfterValidator(_check_order)] | None = Field(default=None, examples=["-score", "gain"])
    """By what to sort: `score`, `ceiling`, `concept_score`, `gain` (`score` − `concept_score`), `length`, `firings` or
    `unit`, the smallest first, or with `-` before it the largest (`-score`). Units left unexplained come last, but by
    `firings` and `unit`. By layer and unit if not given."""


class UnitFiles:
    """Reads the units of explanations, and keeps those that were asked for last; safe to use from many threads.

    Args:
        blobs: Where the files are.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[int, list[Unit]]] = OrderedDict()

    def read(self, explanation: Explanation) -> list[Unit]:
        """Return all units of an explanation, layer after layer, in the order asked for; not to be changed.

        Raises:
            FaceterError: `BLOB_MISSING`.
        """
        key = explanation.sha256
        path = self._blobs.path(key)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][1]
        units = read_units(path)
        with self._lock:
            self._kept[key] = (explanation.bytes, units)
            while len(self._kept) > _MOST_KEPT or sum(bytes for bytes, _ in self._kept.values()) > _MOST_KEPT_BYTES:
                self._kept.popitem(last=False)
        return units


def page_of(
    units: Sequence[Unit], explanation: Explanation, wanted: UnitOrder, limit: int, cursor: str | None
) -> UnitPage:
    """Return one page of the units wanted.

    Args:
        units: All units of the explanation.
        explanation: The explanation.
        wanted: Which, and in what order.
        limit: Most items of the page, at least 1.
        cursor: `next_cursor` of the page before.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `cursor` if it is not of this list, on `layer` if there is none.
    """
    if wanted.layer is not None:
        check_layer(explanation, wanted.layer)
    digest = wanted.digest(explanation.id)
    named, start = decode_cursor(_PLACE, cursor) if cursor else (digest, 0)
    if named != digest:
        raise not_our_cursor()
    found = _ordered([unit for unit in units if wanted.wants(unit)], explanation, wanted.sort)
    end = start + limit
    return UnitPage(
        items=[summary(unit) for unit in found[start:end]],
        next_cursor=encode_cursor(_PLACE, (digest, end)) if end < len(found) else None,
        total=len(found),
    )


def one_of(units: Sequence[Unit], explanation: Explanation, number: int, layer: str | None) -> tuple[Unit, int]:
    """Return one unit, and its position among those of its layer.

    Args:
        units: All units of the explanation.
        explanation: The explanation.
        number: Which.
        layer: Of which layer; need not be given where there is but one.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `layer`, naming those there are; `NOT_FOUND`, saying how many units
            there are.
    """
    layers = explanation.settings.layers
    if layer is None:
        if len(layers) > 1:
            raise invalid(
                f"{explanation.id} is about several layers: say which by `?layer=`, one of {first_few(layers, 50)}.",
                "layer",
            )
        layer = layers[0]
    check_layer(explanation, layer)
    of_layer = [unit for unit in units if unit.layer == layer]
    for row, unit in enumerate(of_layer):
        if unit.unit == number:
            return unit, row
    raise FaceterError(ProblemKind.NOT_FOUND, _no_such_unit(explanation, layer, number, len(of_layer)))


def check_layer(explanation: Explanation, layer: str) -> None:
    """See that an explanation is about a layer.

    Raises:
        FaceterError: `INVALID_REQUEST` on field `layer`, naming those it is about.
    """
    layers = explanation.settings.layers
    if layer not in layers:
        raise invalid(f"{explanation.id} is not about a layer {layer[:200]!r}, but {first_few(layers, 50)}.", "layer")


def summary(unit: Unit) -> UnitSummary:
    """Return a unit as lists show it."""
    return UnitSummary(**{name: getattr(unit, name) for name in UnitSummary.model_fields})


def found_unit(explanation: Explanation, unit: Unit) -> FoundUnit:
    """Return a unit as lists over all explanations of a model show it."""
    return FoundUnit(
        **{name: getattr(unit, name) for name in UnitSummary.model_fields},
        explanation_id=explanation.id,
        dataset_id=explanation.settings.dataset_id,
    )


def with_links(unit: Unit, explanation: Explanation) -> Unit:
    """Return the unit with the addresses that belong to it."""
    here = f"/v1/explanations/{explanation.id}"
    which = f"?layer={quote(unit.layer, safe='')}" if len(explanation.settings.layers) > 1 else ""
    links = {
        "self": f"{here}/units/{unit.unit}{which}",
        "explanation": here,
        "model": f"/v1/models/{explanation.model_id}",
    }
    if explanation.about != "text":
        links["image"] = f"{here}/units/{unit.unit}/image{which}"
    return unit.model_copy(update={"links": links})


def _concepts(unit: Unit) -> set[str]:
    return set() if unit.tree is None else {name.casefold() for name in concepts_of(unit.tree)}


def _ordered(units: list[Unit], explanation: Explanation, sort: str | None) -> list[Unit]:
    """Return units sorted; ties, and all if nothing is said, by layer and unit."""
    place = {layer: number for number, layer in enumerate(explanation.settings.layers)}
    name, sign = (sort or "").removeprefix("-"), -1 if sort is not None and sort.startswith("-") else 1

    def rank(unit: Unit) -> tuple[bool, float, int, int]:
        last = name in _OF_FORMULAS and unit.formula is None
        value = sign * _value(unit, name) if sort is not None and not last else 0.0
        return last, value, place[unit.layer], unit.unit

    return sorted(units, key=rank)


def _value(unit: Unit, name: str) -> float:
    found: float = unit.score - unit.concept_score if name == "gain" else getattr(unit, name)
    return found


def _no_such_unit(explanation: Explanation, layer: str, unit: int, looked_at: int) -> str:
    count = next((found.shape[0] for found in explanation.layers if found.layer == layer), looked_at)
    if unit >= count:
        return f"{layer!r} has {count:,} units, 0 to {count - 1}: there is no unit {unit}."
    return (
        f"{explanation.id} is about {looked_at:,} of the {count:,} units of {layer!r}, and {unit} is none of them. GET "
        f"/v1/explanations/{explanation.id}/units lists them."
    )

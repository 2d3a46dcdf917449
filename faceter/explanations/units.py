"""The file of an explanation: all units as JSON; and the message for a unit that a layer does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from faceter.contracts.units import Unit

_UNITS = TypeAdapter(list[Unit])


def encode_units(units: Sequence[Unit]) -> bytes:
    """Encode units for `read_units`; equal units give equal bytes."""
    return _UNITS.dump_json(list(units), indent=1)


def read_units(path: Path) -> list[Unit]:
    """Read the units of an explanation: by layer, in the order of the request."""
    return _UNITS.validate_json(path.read_bytes(), strict=False)


def no_such_unit(layer: str, count: int, unit: int) -> str:
    """Return the error message for a unit that a layer of ``count`` units does not have."""
    return f"{layer!r} has {count:,} units, 0 to {count - 1}: there is no unit {unit}."

"""An explanation's own file: every unit, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from faceter.contracts.explanations import Unit

MEDIA_TYPE = "application/json"

_UNITS = TypeAdapter(list[Unit])


def units_file(units: Sequence[Unit]) -> bytes:
    """Return units as the file that `read_units` reads; equal units give equal bytes."""
    return _UNITS.dump_json(list(units), indent=1)


def read_units(path: Path) -> list[Unit]:
    """Read an explanation's own file: layer after layer, units in the order asked for."""
    return _UNITS.validate_json(path.read_bytes(), strict=False)

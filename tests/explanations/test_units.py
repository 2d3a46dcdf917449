"""An explanation's own file: units as JSON and back."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from faceter.contracts.explanations import ClassWeight, Unit
from faceter.explanations.units import read_units, units_file
from tests.app.explained import UNITS, unit


def test_units_come_back_as_they_were(tmp_path: Path) -> None:
    units: list[Unit] = [
        *UNITS,
        unit(7, "sky", "car", optimal=None, bound=0.4, classes=[ClassWeight(label="a", weight=-0.5)]),
        unit(8, "naïve ☂", layer="späte", scores=[0.1, 0.30000000000000004], formulas=["a", "b"]),
    ]
    file = tmp_path / "units.json"
    file.write_bytes(units_file(units))
    assert read_units(file) == units
    assert units_file(read_units(file)) == units_file(units)
    assert [item["unit"] for item in json.loads(file.read_text())] == [item.unit for item in units]


def test_no_units(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_bytes(units_file([]))
    assert read_units(file) == []


def test_what_is_no_such_file(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_text('[{"unit": 1}]')
    with pytest.raises(ValidationError):
        read_units(file)

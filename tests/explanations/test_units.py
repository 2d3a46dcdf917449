"""The units file of an explanation."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from faceter.contracts.units import ClassWeight, Unit
from faceter.explanations.units import encode_units, read_units
from tests.app.explanation_records import UNITS, unit


def test_round_trip(tmp_path: Path) -> None:
    units: list[Unit] = [
        *UNITS,
        unit(7, "sky", "car", optimal=None, bound=0.4, classes=[ClassWeight(label="a", weight=-0.5)]),
        unit(8, "naïve ☂", layer="späte", scores=[0.1, 0.30000000000000004], formulas=["a", "b"]),
    ]
    file = tmp_path / "units.json"
    file.write_bytes(encode_units(units))
    assert read_units(file) == units
    assert encode_units(read_units(file)) == encode_units(units)
    assert [item["unit"] for item in json.loads(file.read_text())] == [item.unit for item in units]


def test_no_units(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_bytes(encode_units([]))
    assert read_units(file) == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_text('[{"unit": 1}]')
    with pytest.raises(ValidationError):
        read_units(file)

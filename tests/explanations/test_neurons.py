"""An explanation's own file: units as JSON and back."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from faceter.contracts.explanations import ClassWeight, Neuron
from faceter.explanations.neurons import neurons_file, read_neurons
from tests.app.explained import NEURONS, neuron


def test_units_come_back_as_they_were(tmp_path: Path) -> None:
    units: list[Neuron] = [
        *NEURONS,
        neuron(7, "sky", "car", optimal=None, bound=0.4, classes=[ClassWeight(label="a", weight=-0.5)]),
        neuron(8, "naïve ☂", layer="späte", scores=[0.1, 0.30000000000000004], formulas=["a", "b"]),
    ]
    file = tmp_path / "units.json"
    file.write_bytes(neurons_file(units))
    assert read_neurons(file) == units
    assert neurons_file(read_neurons(file)) == neurons_file(units)
    assert [unit["unit"] for unit in json.loads(file.read_text())] == [unit.unit for unit in units]


def test_no_units(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_bytes(neurons_file([]))
    assert read_neurons(file) == []


def test_what_is_no_such_file(tmp_path: Path) -> None:
    file = tmp_path / "units.json"
    file.write_text('[{"unit": 1}]')
    with pytest.raises(ValidationError):
        read_neurons(file)

"""An explanation's own file: every unit, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter

from faceter.contracts.explanations import Neuron

MEDIA_TYPE = "application/json"

_NEURONS = TypeAdapter(list[Neuron])


def neurons_file(neurons: Sequence[Neuron]) -> bytes:
    """Return units as the file that `read_neurons` reads; equal units give equal bytes."""
    return _NEURONS.dump_json(list(neurons), indent=1)


def read_neurons(path: Path) -> list[Neuron]:
    """Read an explanation's own file: layer after layer, units in the order asked for."""
    return _NEURONS.validate_json(path.read_bytes(), strict=False)

"""Which way of writing the integer graph is fastest on this host, measured, and right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from faceter.contracts.quantizations import LayoutChoice
from faceter.engines.base import Engine, LoadedModel
from faceter.graphs.qdq import QuantizationPlan, layouts, write_qdq
from workers.quantization.noise import Batch
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.timing import interleaved

_GAIN = 0.97
"""A later layout is served only if it takes less than this share of an earlier one's time, lest noise choose."""
_TOLERANCE = 0.1
"""Largest ‖served − simulated‖ / ‖simulated‖ of a layout's first output; kernels that saturate are far beyond it."""


@dataclass(frozen=True)
class Served:
    """The graph to serve.

    Args:
        model: The graph, weights as 8-bit codes.
        loaded: The same, ready to run.
        choices: Every layout tried, with its time.
        notes: What a reader of the report should know.
    """

    model: onnx.ModelProto
    loaded: LoadedModel
    choices: list[LayoutChoice]
    notes: list[str]


def choose(plan: QuantizationPlan, engine: Engine, batch: Batch, *, threads: int) -> Served:
    """Write a plan in every layout, time them in turns, and return the fastest whose answers are right.

    Args:
        plan: A method's result.
        engine: What will serve it.
        batch: Inputs to time and check on.
        threads: Threads of one call.
    """
    written = {name: write_qdq(plan, name) for name in layouts}
    loaded = {name: engine.load(model.SerializeToString(), threads=threads) for name, model in written.items()}
    expected = SimulatedNetwork(plan).run(batch)
    errors = {name: _error(expected, model.run(batch)) for name, model in loaded.items()}
    times, _ = interleaved(list(loaded.values()), batch)
    milliseconds = dict(zip(loaded, times, strict=True))
    right = [name for name in loaded if errors[name] <= _TOLERANCE] or [min(errors, key=errors.__getitem__)]
    chosen = right[0]
    for name in right[1:]:
        if milliseconds[name] < _GAIN * milliseconds[chosen]:
            chosen = name
    for name, model in loaded.items():
        if name != chosen:
            model.close()
    choices = [LayoutChoice(layout=name, milliseconds=milliseconds[name], served=name == chosen) for name in loaded]
    return Served(written[chosen], loaded[chosen], choices, _notes(errors, milliseconds, chosen))


def _error(expected: dict[str, np.ndarray], served: dict[str, np.ndarray]) -> float:
    name = next(iter(served))
    norm = float(np.linalg.norm(expected[name].astype(np.float64)))
    return float(np.linalg.norm(expected[name].astype(np.float64) - served[name])) / norm if norm else 0.0


def _notes(errors: dict[str, float], milliseconds: dict[str, float], chosen: str) -> list[str]:
    notes = [
        f"The layout {name} is not served: on this host its answers differ from the quantized network's by "
        f"{100 * error:.0f} %, as happens where 16-bit sums of 8-bit products overflow."
        for name, error in errors.items()
        if error > _TOLERANCE and name != chosen
    ]
    if errors[chosen] > _TOLERANCE:
        notes.append(
            f"No layout gives the quantized network's own answers on this host; {chosen}, off by "
            f"{100 * errors[chosen]:.0f} %, is the nearest."
        )
    default = next(iter(milliseconds))
    if chosen != default:
        notes.append(
            f"The layout {chosen} is served: {milliseconds[chosen]:.2f} ms a call on this host, "
            f"{default} {milliseconds[default]:.2f} ms."
        )
    return notes

"""Choosing the layout of the quantized graph that is fastest on this host and exact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from faceter.contracts.quantizations import LayoutChoice
from faceter.engines.base import Engine, LoadedModel
from faceter.engines.serving import is_exact
from faceter.engines.timing import interleaved
from faceter.graphs.layouts import UNSIGNED, layouts
from faceter.graphs.packing import unpack_weights
from workers.model_input import Batch

_GAIN = 0.97
"""A later layout must take less than this fraction of an earlier one's time, so that noise does not decide."""


@dataclass(frozen=True)
class FastestLayout:
    """The layout to serve in.

    Args:
        loaded: The graph in that layout, ready to run.
        choices: Every layout that was timed.
        warnings: What a reader of the report should know.
    """

    layout: str
    loaded: LoadedModel
    choices: list[LayoutChoice]
    warnings: list[str]


def choose(content: bytes, engine: Engine, batch: Batch, *, threads: int, saturates: bool) -> FastestLayout:
    """Load a quantized model in every layout that is exact on this host, time them in turns, and return the fastest.

    Args:
        content: The ONNX file; weights may be packed.
        batch: Inputs to time the layouts and to compare their outputs on.
        threads: Threads of one call.
        saturates: Whether this host's kernels add products of signed weights in 16 bits; see `sums_saturate`.
    """
    plain = unpack_weights(onnx.load_model_from_string(content))
    exact = [name for name in layouts if is_exact(name, plain, saturates=saturates)]
    loaded: dict[str, LoadedModel] = {}
    outputs: dict[str, dict[str, np.ndarray]] = {}
    differing = []
    for name in exact:
        model = engine.load(content, threads=threads, layout=name)
        outputs[name] = model.run(batch)
        if _equal(outputs[exact[0]], outputs[name]):
            loaded[name] = model
        else:
            differing.append(name)
            model.close()
    times, _ = interleaved(list(loaded.values()), batch)
    milliseconds = dict(zip(loaded, times, strict=True))
    chosen = exact[0]
    for name in loaded:
        if milliseconds[name] < _GAIN * milliseconds[chosen]:
            chosen = name
    for name, model in loaded.items():
        if name != chosen:
            model.close()
    choices = [LayoutChoice(layout=name, milliseconds=milliseconds[name], served=name == chosen) for name in loaded]
    warnings = _left_out([name for name in layouts if name not in exact], exact[0], differing)
    return FastestLayout(chosen, loaded[chosen], choices, [*warnings, *_faster(milliseconds, chosen)])


def _equal(expected: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(expected[name], outputs[name], equal_nan=True) for name in expected)


def _left_out(inexact: list[str], first: str, differing: list[str]) -> list[str]:
    warnings = []
    if inexact:
        warnings.append(
            f"Not tried here: {', '.join(inexact)}. This host's processor adds pairs of 8-bit products in 16 bits, "
            f"which weights of 8 bits overflow; {UNSIGNED} does without that, and hosts with VNNI may be faster."
        )
    warnings += [
        f"The layout {name} is not served: on this host its outputs differ from those of {first}." for name in differing
    ]
    return warnings


def _faster(milliseconds: dict[str, float], chosen: str) -> list[str]:
    default = next(iter(milliseconds))
    if chosen == default:
        return []
    return [
        f"The layout {chosen} is served: {milliseconds[chosen]:.2f} ms a call on this host, "
        f"{default} {milliseconds[default]:.2f} ms. The file is the same whichever is."
    ]

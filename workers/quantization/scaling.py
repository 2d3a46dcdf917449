"""Whether a network is better quantized with the ranges of its channels equalized.

One step serves all values of an activation. Where channels lie far apart in range, the small ones get few codes or
none, and no tuning that moves a weight by steps brings back what was lost. Equalization (DFQ) repairs that without
changing what the network computes; on a network that is well scaled it does more harm than good. So both are rounded,
and what comes of it is measured.

References:
    Nagel, van Baalen, Blankevoort, Welling, ICCV 2019, arXiv 1906.04721, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.describe import output_specs
from workers.network import OnnxModule
from workers.quantization.equalization import equalize
from workers.quantization.observation import as_tensors
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.simulate import SimulatedNetwork

_BATCHES = 2
_CLEARLY = 0.1
_FEWEST_BITS = 4
_TINY = 1e-12

Rounding = Callable[[Prepared, QuantizationRequest], Outcome]


def evenly_scaled(prepared: Prepared, request: QuantizationRequest, rounding: Rounding) -> tuple[Prepared, list[str]]:
    """Return the network as it is or equalized, whichever ``rounding`` does less harm to, and a note if equalized.

    The equalized network, which computes the same, is taken only if the squared error of its outputs is less than a
    tenth, at 4 bits where fewer are asked for: at 2 everything is lost before tuning, and nothing can be told apart.

    Args:
        prepared: The network, with inputs to measure on.
        request: Bits.
        rounding: How it is rounded.
    """
    equalized = equalize(prepared.model, prepared.statistics)
    if not equalized.pairs:
        return prepared, []
    even = prepared.with_model(equalized.model, equalized.statistics)
    measured = request.model_copy(
        update={
            "weight_bits": max(request.weight_bits, _FEWEST_BITS),
            "activation_bits": max(request.activation_bits, _FEWEST_BITS),
        }
    )
    before, after = (_error(network, measured, rounding) for network in (prepared, even))
    if after >= _CLEARLY * before:
        return prepared, []
    return even, [
        f"Ranges of channels were equalized across {equalized.pairs} pairs of layers before tuning: rounding does "
        f"{before / max(after, _TINY):.1f} times as much harm to the network as it came (squared error of its outputs)."
    ]


def _error(prepared: Prepared, request: QuantizationRequest, rounding: Rounding) -> float:
    """Return the squared error of the rounded network's outputs relative to the float network's, mean over outputs."""
    whole, rounded = OnnxModule(prepared.model), SimulatedNetwork(rounding(prepared, request).plan)
    names = [spec.name for spec in output_specs(prepared.model) if spec.dtype.startswith("float")]
    errors, powers = np.zeros(len(names)), np.zeros(len(names))
    for batch in prepared.batches[:_BATCHES]:
        wanted, given = whole(as_tensors(batch)), rounded.run(batch)
        for index, name in enumerate(names):
            values = wanted[name].detach().double().numpy()
            errors[index] += np.square(given[name] - values).sum()
            powers[index] += np.square(values).sum()
    return float((errors / np.maximum(powers, _TINY)).mean()) if names else 0.0

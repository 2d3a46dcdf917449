"""Whether a network is better quantized with the ranges of its channels equalized.

One step serves all values of an activation. Where channels lie far apart in range, the small ones get few codes or
none, and no tuning that moves a weight by steps brings back what was lost. Equalization (DFQ) repairs that without
changing what the network computes; on a network that is well scaled it does more harm than good. So both are rounded,
and what comes of it is measured.

References:
    Nagel, van Baalen, Blankevoort, Welling, ICCV 2019, arXiv 1906.04721, section 4.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import torch
from torch import Tensor

from faceter.contracts.quantizations import QuantizationRequest
from workers.model_input import Batch
from workers.network import OnnxModule
from workers.quantization.equalization import equalize
from workers.quantization.observation import as_tensors
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.tuning.losses import relative_error

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
    wanted = _answers(prepared)
    before, after = (_error(wanted, rounding(network, measured), prepared.batches) for network in (prepared, even))
    if not after < _CLEARLY * before:
        return prepared, []
    return even, [
        f"Ranges of channels were equalized across {equalized.pairs} pairs of layers first: rounding does "
        f"{before / max(after, _TINY):.1f} times as much harm to the network as it came (squared error of its outputs)."
    ]


@torch.no_grad()
def _answers(prepared: Prepared) -> list[dict[str, Tensor]]:
    """Return the float outputs of the float network for each batch to measure on, by name."""
    network = OnnxModule(prepared.model)
    found = [network(as_tensors(batch)) for batch in prepared.batches[:_BATCHES]]
    return [{name: values for name, values in part.items() if values.is_floating_point()} for part in found]


def _error(wanted: Sequence[Mapping[str, Tensor]], rounded: Outcome, batches: Sequence[Batch]) -> float:
    """Return the relative squared error of a rounded network, the mean over outputs and batches; 0 without outputs."""
    network = SimulatedNetwork(rounded.plan)
    errors = []
    for batch, answers in zip(batches, wanted, strict=False):
        given = network.run(batch)
        errors += [float(relative_error(values, torch.from_numpy(given[name]))) for name, values in answers.items()]
    return fmean(errors) if errors else 0.0

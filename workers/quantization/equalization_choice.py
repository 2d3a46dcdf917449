"""Choice between a network and its equalized version, by the output error after rounding.

One scale serves all channels of an activation. If channels differ much in range, the small ones get few codes or none,
and no tuning in steps of the scale recovers them. Cross-layer equalization (DFQ) repairs that without changing the
function, but harms networks whose channels are well scaled. So both versions are rounded and their errors compared.

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
from workers.onnx_module import OnnxModule
from workers.quantization.equalization import equalize
from workers.quantization.method import MethodResult
from workers.quantization.observation import as_tensors
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.simulate import SimulatedNetwork
from workers.quantization.tuning.student.losses import relative_error

_BATCHES = 2
_MAX_ERROR_RATIO = 0.1
_MIN_BITS = 4
_TINY = 1e-12

RoundingMethod = Callable[[PreparedNetwork, QuantizationRequest], MethodResult]


def equalize_if_better(
    prepared: PreparedNetwork, request: QuantizationRequest, rounding: RoundingMethod
) -> tuple[PreparedNetwork, list[str]]:
    """Return the equalized network and a warning if rounding harms it much less; else the network itself, no warning.

    The equalized network is chosen if its relative squared output error is below a tenth of the other's, with at least
    4 bits: at 2 bits both lose everything before tuning, and errors do not discriminate.

    Args:
        prepared: The network, with batches to measure on.
        rounding: The rounding method of the following tuning.
    """
    equalized = equalize(prepared.model, prepared.statistics)
    if not equalized.pairs:
        return prepared, []
    equalized_network = prepared.with_model(equalized.model, equalized.statistics)
    rounding_request = request.model_copy(
        update={
            "weight_bits": max(request.weight_bits, _MIN_BITS),
            "activation_bits": max(request.activation_bits, _MIN_BITS),
        }
    )
    expected = _float_outputs(prepared)
    before, after = (
        _error(expected, rounding(network, rounding_request), prepared.batches)
        for network in (prepared, equalized_network)
    )
    if not after < _MAX_ERROR_RATIO * before:
        return prepared, []
    return equalized_network, [
        f"Ranges of channels were equalized across {equalized.pairs} pairs of layers first: without, the squared error "
        f"of the outputs after rounding is {before / max(after, _TINY):.1f} times as large."
    ]


@torch.no_grad()
def _float_outputs(prepared: PreparedNetwork) -> list[dict[str, Tensor]]:
    """Return the floating-point outputs of the float network for each measured batch, by name."""
    network = OnnxModule(prepared.model)
    outputs = [network(as_tensors(batch)) for batch in prepared.batches[:_BATCHES]]
    return [{name: values for name, values in batch.items() if values.is_floating_point()} for batch in outputs]


def _error(expected: Sequence[Mapping[str, Tensor]], rounded: MethodResult, batches: Sequence[Batch]) -> float:
    """Return the relative squared error of a rounded network, the mean over outputs and batches; 0 without any."""
    network = SimulatedNetwork(rounded.plan)
    errors = []
    for batch, outputs in zip(batches, expected, strict=False):
        quantized = network.run(batch)
        errors += [float(relative_error(values, torch.from_numpy(quantized[name]))) for name, values in outputs.items()]
    return fmean(errors) if errors else 0.0

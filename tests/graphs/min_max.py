"""Min–max quantization with one calibration batch."""

from collections.abc import Mapping

import numpy as np
import onnx

from faceter.graphs.batch_norm_folding import fold_batch_norms
from faceter.graphs.canonical import canonicalize
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import find_quantization_sites
from faceter.graphs.quantizer import asymmetric
from tests.graphs.builders import Array, constants, run, with_outputs
from tests.graphs.quantizers import symmetric


def min_max_plan(
    model: onnx.ModelProto,
    *,
    weight_bits: int = 8,
    activation_bits: int = 8,
    per_channel: bool = True,
    given: Mapping[str, Array] | None = None,
    **inputs: Array,
) -> QuantizationPlan:
    """Return the min–max plan of a model; ``given`` has calibration inputs whose names are not identifiers."""
    inputs |= given or {}
    folded = fold_batch_norms(canonicalize(model)).model
    sites = find_quantization_sites(folded)
    names = [name for site in sites.activations for name in site.tensors if name not in inputs]
    seen = dict(zip(names, run(with_outputs(folded, names), *names, **inputs), strict=True)) | inputs
    weights = {}
    for site in sites.weights:
        value = np.abs(constants(folded)[site.name])
        if per_channel and site.axis is not None:
            others = tuple(axis for axis in range(value.ndim) if axis != site.axis)
            weights[site.name] = symmetric(value.max(axis=others), weight_bits, axis=site.axis)
        else:
            weights[site.name] = symmetric(value.max(), weight_bits)
    activations = {}
    for activation in sites.activations:
        values = [seen[name] for name in activation.tensors]
        low, high = min(value.min() for value in values), max(value.max() for value in values)
        activations[activation.name] = asymmetric(low, high, activation.bits(activation_bits))
    return QuantizationPlan(folded, weights, activations, sites)

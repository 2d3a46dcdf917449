"""Quantizers with the scale of least mean squared error, found by a grid search over clipping ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.contracts.quantizations import Granularity
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import QuantizationSites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView
from workers.quantization.affine import activation_quantizer, fake_quantize, min_max_weight_quantizer
from workers.quantization.rq import granularity_of, weight_of
from workers.quantization.tuning.session import TuningSession

_CLIPPING_RATIOS = np.linspace(1.0, 0.2, 33)
_MAX_VALUES = 1 << 16


def mse_rounded_plan(
    model: onnx.ModelProto,
    sites: QuantizationSites,
    activations: Mapping[str, Quantizer],
    bits: Mapping[str, int] | int,
    granularity: Granularity,
) -> QuantizationPlan:
    """Return a plan with MSE-optimal weight quantizers and the given activation quantizers.

    Args:
        model: The float network.
        bits: Bits of every weight, or of each by name.
    """
    view = GraphView(model)
    weights = {
        site.name: mse_weight_quantizer(
            weight_of(view, site.name),
            bits if isinstance(bits, int) else bits[site.name],
            granularity_of(site.axis, granularity),
            site.axis or 0,
        )
        for site in sites.weights
    }
    return QuantizationPlan(model, weights, dict(activations), sites)


def mse_weight_quantizer(weights: Array, bits: int, granularity: Granularity, axis: int) -> Quantizer:
    """Return the quantizer of least squared error among 33 that clip to 100 % down to 20 % of the min–max range.

    Args:
        granularity: One scale per tensor or per channel on ``axis``, each searched on its own.
        axis: The axis of output channels.
    """
    whole = min_max_weight_quantizer(weights, bits, granularity, axis=axis)
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    best_error: NDArray[np.float64] | None = None
    best = whole.scale
    for ratio in _CLIPPING_RATIOS:
        candidate = replace(whole, scale=whole.scale * np.float32(ratio))
        error = np.moveaxis(np.square(candidate.fake(weights) - weights), axis, 0).reshape(rows.shape).sum(axis=1)
        error = error if whole.axis is not None else np.asarray(error.sum())
        if best_error is None:
            best_error = error
            continue
        best = np.where(error < best_error, candidate.scale, best)
        best_error = np.minimum(error, best_error)
    return replace(whole, scale=best)


@torch.no_grad()
def mse_activation_quantizers(session: TuningSession, x: Tensor, activation_bits: int) -> dict[str, Quantizer]:
    """Return the quantizers of least squared error for the float network's activations on a batch, by site.

    Args:
        x: Inputs, [N, …].
        activation_bits: Bits of activations that enter a layer, and of residual sums.
    """
    sites = session.sites.activations
    outputs = session.teacher_outputs(x[: session.max_batch], [name for site in sites for name in site.tensors])
    quantizers = {}
    for site in sites:
        values = torch.cat([_sample(outputs[name].float()) for name in site.tensors])
        quantizers[site.name] = _least_error(values, site.bits(activation_bits))
    return quantizers


def _sample(values: Tensor) -> Tensor:
    """Return at most 65,536 of the values, uniformly drawn with a fixed seed, [M]."""
    flat = values.reshape(-1)
    if flat.numel() <= _MAX_VALUES:
        return flat
    chosen = torch.randint(flat.numel(), (_MAX_VALUES,), generator=torch.Generator().manual_seed(0))
    return flat[chosen.to(flat.device)]


def _least_error(values: Tensor, bits: int) -> Quantizer:
    low, high = float(values.min()), float(values.max())
    candidates = [activation_quantizer(low * ratio, high * ratio, bits) for ratio in _CLIPPING_RATIOS.tolist()]
    errors = [float((fake_quantize(values, item) - values).square().sum()) for item in candidates]
    return candidates[int(np.argmin(errors))]

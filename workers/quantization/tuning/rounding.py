"""Steps that round a network's weights and activations with the least squared error, measured, not assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.contracts.quantizations import Granularity
from faceter.graphs.qdq import QuantizationPlan, Sites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView
from workers.quantization.affine import activation_quantizer, fake_quantize, min_max_weight_quantizer
from workers.quantization.rq import granularity_of, weight_of
from workers.quantization.tuning.session import Session

_SHARES = np.linspace(1.0, 0.2, 33)
_VALUES = 1 << 16


def rounded(
    model: onnx.ModelProto,
    sites: Sites,
    activations: Mapping[str, Quantizer],
    bits: Mapping[str, int] | int,
    granularity: Granularity,
) -> QuantizationPlan:
    """Return the plan of a network with steps of least squared error for its weights.

    Args:
        model: The float network, tuned so far.
        sites: What is quantized in it.
        activations: Quantizers of its activations.
        bits: Bits of every weight, or of each by name.
        granularity: One step per tensor or per output channel.
    """
    view = GraphView(model)
    weights = {
        site.name: weight_quantizer(
            weight_of(view, site.name),
            bits if isinstance(bits, int) else bits[site.name],
            granularity_of(site.axis, granularity),
            site.axis or 0,
        )
        for site in sites.weights
    }
    return QuantizationPlan(model, weights, dict(activations), sites)


def weight_quantizer(weights: Array, bits: int, granularity: Granularity, axis: int) -> Quantizer:
    """Return the quantizer of least squared error among those that cover from 20 % to all of a weight's range.

    Args:
        weights: The weight.
        bits: Bits of its codes.
        granularity: One step per tensor or per channel on ``axis``.
        axis: The axis of output channels.
    """
    whole = min_max_weight_quantizer(weights, bits, granularity, axis=axis)
    rows = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
    best_error: NDArray[np.float64] | None = None
    best = whole.scale
    for share in _SHARES:
        tried = replace(whole, scale=whole.scale * np.float32(share))
        error = np.moveaxis(np.square(tried.fake(weights) - weights), axis, 0).reshape(rows.shape).sum(axis=1)
        error = error if whole.axis is not None else np.asarray(error.sum())
        if best_error is None:
            best_error = error
            continue
        best = np.where(error < best_error, tried.scale, best)
        best_error = np.minimum(error, best_error)
    return replace(whole, scale=best)


@torch.no_grad()
def activation_quantizers(session: Session, x: Tensor, activation_bits: int) -> dict[str, Quantizer]:
    """Return the quantizers of least squared error for the float network's activations on a batch.

    Args:
        session: Has the network.
        x: Inputs, [N, …].
        activation_bits: Bits of activations that enter a layer, and of residual sums.
    """
    sites = session.sites.activations
    seen = session.ask_teacher(x[: session.most], [name for site in sites for name in site.tensors])
    made = {}
    for site in sites:
        values = torch.cat([_sample(seen[name].float()) for name in site.tensors])
        made[site.name] = _least_error(values, site.bits(activation_bits))
    return made


def _sample(values: Tensor) -> Tensor:
    """Return up to 65,536 of the values, drawn alike from everywhere."""
    flat = values.reshape(-1)
    if flat.numel() <= _VALUES:
        return flat
    chosen = torch.randint(flat.numel(), (_VALUES,), generator=torch.Generator().manual_seed(0))
    return flat[chosen.to(flat.device)]


def _least_error(values: Tensor, bits: int) -> Quantizer:
    low, high = float(values.min()), float(values.max())
    tried = [activation_quantizer(low * share, high * share, bits) for share in _SHARES.tolist()]
    errors = [float((fake_quantize(values, item) - values).square().sum()) for item in tried]
    return tried[int(np.argmin(errors))]

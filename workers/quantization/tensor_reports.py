"""Bits, scale and signal-to-noise ratio of every quantized tensor, for the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.quantizations import TensorQuantization
from faceter.graphs.quantization_plan import QuantizationPlan, bias_quantizers, fit_biases
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView
from workers.host import compute_device
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization.affine import fake_quantize
from workers.quantization.observation import as_tensors

_BIAS_BITS = 32


def tensor_reports(
    plan: QuantizationPlan, batches: Sequence[Batch], progress: Callable[[float], None] = lambda _: None
) -> list[TensorQuantization]:
    """Describe every quantized tensor: weights, then biases, then activations, each in the order of the graph.

    The signal-to-noise ratio of a weight or bias is exact; that of an activation is measured on ``batches``: the
    values of the float network against the same values after the tensor's own quantizer.

    Args:
        progress: Called with the fraction of the batches done.
    """
    plan = fit_biases(plan)
    view = GraphView(plan.model)
    reports = [
        _describe(
            site.name, "weight", ", ".join(site.layers), plan.weights[site.name], _weight_noise(view, plan, site.name)
        )
        for site in plan.sites.weights
        if site.name in plan.weights
    ]
    reports += _bias_reports(plan, view)
    noise = _activation_noise(plan, batches, progress)
    for site in plan.sites.activations:
        if site.name in plan.activations:
            reports.append(
                _describe(site.name, "activation", site.layer, plan.activations[site.name], noise.get(site.name))
            )
    return reports


def signal_to_noise_db(signal: float, noise: float) -> float | None:
    """Return 10 · log10(signal / noise), both powers; None if either is 0."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def _describe(
    name: str, role: Literal["weight", "activation"], layer: str | None, quantizer: Quantizer, noise: float | None
) -> TensorQuantization:
    bits = quantizer.channel_bits
    return TensorQuantization(
        tensor=name,
        role=role,
        layer=layer,
        bits=quantizer.bits,
        scale=np.atleast_1d(quantizer.scale).astype(float).tolist(),
        zero_point=np.atleast_1d(quantizer.zero_point).astype(int).tolist(),
        clip=[quantizer.low, quantizer.high],
        channel_bits=None if bits is None else bits.astype(int).tolist(),
        signal_to_noise_db=noise,
    )


def _weight_noise(view: GraphView, plan: QuantizationPlan, name: str) -> float | None:
    weight = np.asarray(view.constant(name), np.float64)
    error = plan.weights[name].fake(np.asarray(view.constant(name))) - weight
    return signal_to_noise_db(float(np.square(weight).sum()), float(np.square(error).sum()))


def _bias_reports(plan: QuantizationPlan, view: GraphView) -> list[TensorQuantization]:
    reports = []
    for item in bias_quantizers(plan):
        bias = np.asarray(view.constant(item.bias), np.float64)
        error = item.fake(bias) - bias
        scale = np.atleast_1d(item.scale).astype(float)
        limit = float(scale.max()) * 2.0 ** (_BIAS_BITS - 1)
        reports.append(
            TensorQuantization(
                tensor=item.bias,
                role="bias",
                layer=item.layer,
                bits=_BIAS_BITS,
                scale=scale.tolist(),
                zero_point=[0] * scale.size,
                clip=[-limit, limit],
                signal_to_noise_db=signal_to_noise_db(float(np.square(bias).sum()), float(np.square(error).sum())),
            )
        )
    return reports


@torch.inference_mode()
def _activation_noise(
    plan: QuantizationPlan, batches: Sequence[Batch], progress: Callable[[float], None]
) -> dict[str, float | None]:
    device = compute_device()
    network = OnnxModule(plan.model).to(device)
    sites = [site for site in plan.sites.activations if site.name in plan.activations]
    powers: dict[str, NDArray[np.float64]] = {site.name: np.zeros(2) for site in sites}
    for index, batch in enumerate(batches):
        seen = network(as_tensors(batch, device), watch=[name for site in sites for name in site.tensors], outputs=[])
        for site in sites:
            for name in site.tensors:
                values = seen[name]
                error = fake_quantize(values, plan.activations[site.name]) - values
                powers[site.name] += [float(values.double().square().sum()), float(error.double().square().sum())]
        progress((index + 1) / len(batches))
    return {name: signal_to_noise_db(float(signal), float(noise)) for name, (signal, noise) in powers.items()}

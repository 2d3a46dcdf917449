"""ACIQ, analytical clipping for integer quantization, with per-channel bit allocation and bias correction.

Activations are clipped at the α that minimizes the expected squared error of a Laplace or Gaussian tensor, whichever
fits better. Weights are clipped likewise; channels get bits such that the number of levels is proportional to
α^(2/3); and quantized weights get back the mean and norm of the float ones.

An integer layer has one scale and no zero point per channel, so that the paper's weight correction ŵ ← ξ_c (ŵ + μ_c) is
split: ξ_c goes into the scale (one ξ for weights with one scale per tensor), and μ_c, which adds μ_c Σ x to an
output, into the bias as its mean μ_c Σ E[x].

References:
    Banner, Nahshan, Soudry, "Post-training 4-bit quantization of convolutional networks for rapid-deployment",
    NeurIPS 2019, arXiv 1810.05723.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.quantizations import Granularity, QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import QuantizationSites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import Array, GraphView
from workers.quantization.affine import activation_quantizer, channel_weight_quantizer, tensor_weight_quantizer
from workers.quantization.bias_correction import expected_shift, input_channels, subtract_from_biases
from workers.quantization.calibration import ActivationStatistics, activation_statistics, input_channel_means
from workers.quantization.channel_bit_allocation import allocate_bits, weight_bias_correction
from workers.quantization.channel_shapes import optimal_range
from workers.quantization.clipping import clip_value
from workers.quantization.layers import layers_with_bias
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import granularity_of, granularity_warnings, weight_of
from workers.quantization.statistics import TensorStatistics

Float = NDArray[np.float64]

_MAX_BITS = 8


@dataclass(frozen=True)
class ACIQ:
    """Settings of ACIQ.

    Args:
        allocate: Whether bits are allocated among the channels of a weight (per-channel granularity only).
        correct_weights: Whether quantized weights get back their mean and norm.
    """

    allocate: bool = True
    correct_weights: bool = True

    def __call__(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the plan with clipped activations and weights, allocated bits, and corrected weights."""
        sites = prepared.sites()
        statistics = activation_statistics(prepared, sites)
        activations = {
            site.name: clipped_activation(
                [statistics[name] for name in site.tensors], site.bits(request.activation_bits)
            )
            for site in sites.activations
        }
        view = GraphView(prepared.model)
        weights = {
            site.name: self.quantize_weight(weight_of(view, site.name), request, site.axis) for site in sites.weights
        }
        warnings = [*statistics.warnings(), *granularity_warnings(sites, request)]
        if not self.correct_weights:
            return MethodResult(QuantizationPlan(prepared.model, weights, activations, sites), warnings)
        shifts = _mean_shifts(prepared, weights, sites, statistics)
        corrected = {
            site.name: _restored_norm(weights[site.name], weight_of(view, site.name), site.axis)
            for site in sites.weights
        }
        model = subtract_from_biases(prepared.model, shifts)
        return MethodResult(QuantizationPlan(model, corrected, activations, sites), warnings)

    def quantize_weight(self, weights: Array, request: QuantizationRequest, axis: int | None) -> Quantizer:
        """Return the quantizer of one weight, before the correction of its norm.

        Args:
            weights: The weight, in any layout.
            axis: Its axis of output channels; None if it has none.
        """
        if granularity_of(axis, request.weight_granularity) is Granularity.TENSOR or axis is None:
            return clipped_tensor(weights, request.weight_bits)
        flat = np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1).astype(np.float64)
        bits = np.full(flat.shape[0], request.weight_bits, np.int64)
        if self.allocate:
            alphas = np.array([_deviation_clip(row, request.weight_bits) for row in flat])
            bits = allocate_bits(alphas, request.weight_bits, lowest=2, highest=_MAX_BITS)
        return clipped_channels(flat, bits, axis)


def clipped_activation(tensors: Iterable[TensorStatistics], bits: int) -> Quantizer:
    """Return the quantizer of activations that share one, clipped at the analytic optimum.

    The range is [0, α] after ReLU, else mean ± α, within the measured range.

    Args:
        tensors: Statistics of each tensor; the widest of their clipped ranges is taken.
        bits: Bits of the codes.
    """
    ranges = [
        optimal_range(item.shapes, item.low, item.high, bits, centre=item.mean, one_sided=item.one_sided)
        for item in tensors
    ]
    return activation_quantizer(min(low for low, _ in ranges), max(high for _, high in ranges), bits)


def _deviation_clip(row: Float, bits: int) -> float:
    """Return α of one channel's weights: the analytic clip about 0, at most the largest magnitude."""
    alpha = clip_value(float(np.abs(row).mean()), float(np.sqrt(np.square(row).mean())), bits)
    return min(alpha, float(np.abs(row).max()))


def clipped_tensor(weights: Array, bits: int) -> Quantizer:
    """Return the affine quantizer of a whole weight: min–max or clipped to mean ± α, the one of smaller error."""
    low, high = float(weights.min()), float(weights.max())
    mean = float(weights.mean())
    centred = weights - mean
    alpha = clip_value(float(np.abs(centred).mean()), float(centred.std()), bits)
    candidates = [
        tensor_weight_quantizer(low, high, bits),
        tensor_weight_quantizer(max(low, mean - alpha), min(high, mean + alpha), bits),
    ]
    return min(candidates, key=lambda quantizer: float(np.square(quantizer.fake(weights) - weights).sum()))


def clipped_channels(flat: Float, bits: NDArray[np.int64], axis: int) -> Quantizer:
    """Return the symmetric quantizer of channels, each min–max or clipped to ±α, whichever has the smaller error.

    Args:
        flat: Weights, channels first, [C, …].
        bits: Bits of each channel, [C].
        axis: The channels' axis in the weight itself.
    """
    low, high = flat.min(axis=1), flat.max(axis=1)
    alphas = np.array([_deviation_clip(row, int(b)) for row, b in zip(flat, bits, strict=True)])
    whole = channel_weight_quantizer(low, high, bits)
    clipped = channel_weight_quantizer(np.maximum(low, -alphas), np.minimum(high, alphas), bits)
    errors = [np.square(quantizer.fake(flat) - flat).sum(axis=1) for quantizer in (whole, clipped)]
    return replace(whole, scale=np.where(errors[1] < errors[0], clipped.scale, whole.scale), axis=axis)


def _mean_shifts(
    prepared: PreparedNetwork, weights: dict[str, Quantizer], sites: QuantizationSites, statistics: ActivationStatistics
) -> dict[str, NDArray[np.floating]]:
    """Return the expected change of each layer's outputs by the lost weight means, −μ_c Σ E[x], [O] by tensor."""
    view = GraphView(prepared.model)
    axes = {site.name: site.axis for site in sites.weights}
    shifts: dict[str, NDArray[np.floating]] = {}
    for layer in layers_with_bias(prepared.model):
        weight = view.constant(layer.weight)
        axis = axes.get(layer.weight)
        if weight is None or axis is None or layer.weight not in weights:
            continue
        means = input_channel_means(statistics, layer.source, input_channels(layer, weight))
        if means is None:
            continue
        quantizer = weights[layer.weight]
        rows, fakes = (np.moveaxis(w, axis, 0) for w in (weight, _restored_norm(quantizer, weight, axis).fake(weight)))
        mu = (rows - fakes).reshape(rows.shape[0], -1).mean(axis=1, dtype=np.float64)
        mean_error = np.moveaxis(np.broadcast_to(-mu.reshape(-1, *[1] * (rows.ndim - 1)), rows.shape), 0, axis)
        shifts[layer.result] = expected_shift(layer, mean_error, means)
    return shifts


def _restored_norm(quantizer: Quantizer, weights: Array, axis: int | None) -> Quantizer:
    """Return the quantizer with ξ in its scale: codes do not change, values have the norm of the float weights."""
    codes = quantizer.quantize(weights)
    values = quantizer.dequantize(codes)
    if quantizer.axis is None or axis is None:
        _, xi = weight_bias_correction(weights.reshape(1, -1), values.reshape(1, -1))
        return replace(quantizer, scale=quantizer.scale * np.float32(xi[0]))
    _, xi = weight_bias_correction(np.moveaxis(weights, axis, 0), np.moveaxis(values, axis, 0))
    return replace(quantizer, scale=quantizer.scale * xi.astype(np.float32))

"""Quantizer parameters from ranges: q = clamp(round(v / S) + Z, qmin, qmax), v̂ = S (q − Z).

Activations and per-tensor weights are affine: their range is widened to contain 0, and Z is a code, so that zero is
exact (padding depends on it). Per-channel weights are symmetric, Z = 0, because an integer convolution takes one
weight zero point only; all 2^b codes are used, so that 2 bits are four levels and not three.

References:
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
    CVPR 2018, arXiv 1712.05877, section 2.1.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.contracts.quantizations import Granularity
from faceter.graphs.quantizer import Quantizer, asymmetric

Array = NDArray[np.floating]

_SMALLEST_SCALE = float(np.finfo(np.float32).tiny) * 2**8


def activation_quantizer(low: float, high: float, bits: int) -> Quantizer:
    """Return the affine quantizer of an activation with unsigned codes.

    Args:
        low: Smallest value to represent; 0 if positive.
        high: Largest value to represent; 0 if negative.
        bits: Bits of the codes, 2 to 8.
    """
    return asymmetric(low, high, bits)


def tensor_weight_quantizer(low: float, high: float, bits: int) -> Quantizer:
    """Return the affine quantizer of a whole weight with signed codes: one scale, one zero point.

    Args:
        low: Smallest value to represent; 0 if positive.
        high: Largest value to represent; 0 if negative.
        bits: Bits of the codes, 2 to 8.
    """
    return asymmetric(low, high, bits, signed=True)


def channel_weight_quantizer(low: Array, high: Array, bits: NDArray[np.integer] | int, *, axis: int = 0) -> Quantizer:
    """Return the symmetric quantizer of a weight with one scale per channel, Z = 0.

    The codes −2^(b−1) … 2^(b−1) − 1 cover, with half a step of rounding at each end, −(2^(b−1) + ½) S to
    (2^(b−1) − ½) S. S is the smallest step with which they cover [low, high]; for low = −high = −a it is
    2a / (2^b − 1). At 8 bits −128 is not used, see :class:`Quantizer`.

    Args:
        low: Smallest value of each channel, [C].
        high: Largest value of each channel, [C].
        bits: Bits of the codes, 2 to 8; or one per channel, [C].
        axis: The channels' axis.
    """
    channel_bits = np.asarray(bits, np.int64)
    half = 2.0 ** (channel_bits - 1)
    below = np.where(channel_bits == 8, half - 0.5, half + 0.5)
    scale = np.maximum(np.maximum(high, 0) / (half - 0.5), np.maximum(np.negative(low), 0) / below)
    scale = np.where(scale > _SMALLEST_SCALE, scale, 1.0)
    varied = channel_bits.ndim > 0 and bool(np.ptp(channel_bits))
    return Quantizer(
        scale=scale,
        zero_point=np.zeros(scale.shape, np.int32),
        bits=int(channel_bits.max()),
        axis=axis,
        channel_bits=channel_bits if varied else None,
        signed=True,
    )


def channel_ranges(weights: Array, axis: int) -> tuple[Array, Array]:
    """Return the smallest and largest weight of every channel on ``axis``, each [C]."""
    others = tuple(i for i in range(weights.ndim) if i != axis % weights.ndim)
    return weights.min(axis=others), weights.max(axis=others)


def min_max_weight_quantizer(weights: Array, bits: int, granularity: Granularity, *, axis: int = 0) -> Quantizer:
    """Return the quantizer that covers a weight exactly, with one scale per tensor or per channel on ``axis``."""
    if granularity is Granularity.TENSOR:
        return tensor_weight_quantizer(float(weights.min()), float(weights.max()), bits)
    low, high = channel_ranges(weights, axis)
    return channel_weight_quantizer(low, high, bits, axis=axis)


def fake_quantize(x: Tensor, quantizer: Quantizer) -> Tensor:
    """Quantize and dequantize a float32 tensor of any shape, equal to :meth:`Quantizer.fake` on arrays."""
    shape = [1] * x.ndim
    if quantizer.axis is not None:
        shape[quantizer.axis] = -1

    def broadcast(values: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
        tensor = torch.as_tensor(np.asarray(values), dtype=dtype, device=x.device)
        return tensor.reshape(shape) if tensor.ndim else tensor

    scale, zero_point = broadcast(quantizer.scale, torch.float32), broadcast(quantizer.zero_point, torch.float32)
    low, high = (broadcast(codes, torch.float32) - zero_point for codes in (quantizer.qmin, quantizer.qmax))
    return torch.clamp(torch.round(x / scale), low, high) * scale

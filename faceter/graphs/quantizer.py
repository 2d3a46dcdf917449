"""Affine quantization of one tensor: codes, scale and zero point."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Quantizer:
    """The map between real values and b-bit integer codes: q = clamp(round(x / S) + Z, qmin, qmax), x̂ = S (q − Z).

    Rounds half to even on x / S in float32, as ONNX's QuantizeLinear.

    Attributes:
        scale: S, float32 of shape [], or [C] with one step per channel; positive.
        zero_point: Z, integers of the same shape; the code of zero.
        bits: b, 1 to 8; with ``channel_bits`` their maximum.
        axis: The channel axis of the tensor; None for one scale.
        channel_bits: Bits per channel, int of shape [C], where they differ; None otherwise.
        signed: Whether codes run from −2^(b−1) to 2^(b−1) − 1 in int8 (weights), or from 0 to 2^b − 1 in uint8. With
            one scale per channel and Z = 0 the 8-bit code −128 is not used, so that `faceter.graphs.blocking` can
            move the zero point by one.

    References:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        CVPR 2018, arXiv 1712.05877.
    """

    scale: Array
    zero_point: Array
    bits: int
    axis: int | None = None
    channel_bits: Array | None = None
    signed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", np.asarray(self.scale, np.float32))
        object.__setattr__(self, "zero_point", np.asarray(self.zero_point, np.int32))
        if self.channel_bits is not None:
            object.__setattr__(self, "channel_bits", np.asarray(self.channel_bits, np.int32))
        if self.scale.ndim > 1 or (self.scale.ndim == 1) != (self.axis is not None):
            raise ValueError(f"scale of shape {self.scale.shape} does not match axis {self.axis}")
        if self.zero_point.shape != self.scale.shape:
            raise ValueError(f"zero_point has shape {self.zero_point.shape}, scale {self.scale.shape}")
        if self.channel_bits is not None and self.channel_bits.shape != self.scale.shape:
            raise ValueError(f"channel_bits has shape {self.channel_bits.shape}, scale {self.scale.shape}")
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits is {self.bits}, must be 1 to 8")
        if not (np.all(np.isfinite(self.scale)) and np.all(self.scale > 0)):
            raise ValueError("scale must be finite and positive")
        if np.any(self.zero_point < self.qmin) or np.any(self.zero_point > self.qmax):
            raise ValueError("zero_point must be a code, so that 0 is exact")

    @property
    def qmin(self) -> Array:
        """Smallest code, int32, of the scale's shape or []."""
        bits = self._bits
        if not self.signed:
            return np.zeros_like(bits)
        unused = np.logical_and(bits == 8, self.axis is not None and not np.any(self.zero_point))
        return np.asarray(-(1 << (bits - 1)) + unused)

    @property
    def qmax(self) -> Array:
        """Largest code, int32, of the scale's shape or []."""
        bits = self._bits
        return np.asarray((1 << (bits - 1)) - 1 if self.signed else (1 << bits) - 1)

    @property
    def _bits(self) -> Array:
        return np.asarray(self.bits if self.channel_bits is None else self.channel_bits, np.int32)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The codes' dtype: int8 if signed, else uint8."""
        return np.dtype(np.int8 if self.signed else np.uint8)

    @property
    def low(self) -> float:
        """Smallest value that can be represented, over all channels."""
        return float(np.min(self.scale * (self.qmin - self.zero_point)))

    @property
    def high(self) -> float:
        """Largest value that can be represented, over all channels."""
        return float(np.max(self.scale * (self.qmax - self.zero_point)))

    def quantize(self, x: Array) -> Array:
        """Return the codes of float values ``x`` (any shape with channels on ``axis``), int8 or uint8."""
        rank = x.ndim
        with np.errstate(over="ignore"):  # infinity is clamped like any value out of range
            steps = np.rint(x.astype(np.float32) / self._broadcast(self.scale, rank))
        codes = steps + self._broadcast(self.zero_point, rank)
        clipped = np.clip(codes, self._broadcast(self.qmin, rank), self._broadcast(self.qmax, rank))
        return np.asarray(clipped, self.dtype)

    def dequantize(self, codes: Array) -> Array:
        """Return the float32 values of codes."""
        rank = codes.ndim
        centred = (codes.astype(np.int32) - self._broadcast(self.zero_point, rank)).astype(np.float32)
        return np.asarray(centred * self._broadcast(self.scale, rank))

    def fake(self, x: Array) -> Array:
        """Fake-quantize: return ``x`` after quantization and dequantization, float32."""
        return self.dequantize(self.quantize(x))

    def _broadcast(self, per_channel: Array, rank: int) -> Array:
        if self.axis is None or per_channel.ndim == 0:
            return per_channel
        shape = [1] * rank
        shape[self.axis] = -1
        return per_channel.reshape(shape)


def asymmetric(
    low: Array | float, high: Array | float, bits: int, *, axis: int | None = None, signed: bool = False
) -> Quantizer:
    """Return the asymmetric quantizer of a range, which is widened to contain 0.

    S = (high − low) / (2^b − 1) and Z = qmin − round(low / S). The range [0, 0] gets S = 1.

    Args:
        low: Lower ends α, shape [] or [C].
        high: Upper ends β, shape [] or [C].
        bits: b, 1 to 8.
        axis: The channel axis, for shape [C].
        signed: Whether codes are int8 (weights) instead of uint8.
    """
    low = np.minimum(np.asarray(low, np.float64), 0.0)
    high = np.maximum(np.asarray(high, np.float64), 0.0)
    qmin = -(1 << (bits - 1)) if signed else 0
    steps = (1 << bits) - 1
    scale = _nonzero_scale((high - low) / steps)
    zero_point = np.clip(qmin - np.rint(low / scale), qmin, qmin + steps)
    return Quantizer(scale, zero_point, bits, axis, signed=signed)


def _nonzero_scale(scale: Array) -> Array:
    tiny = np.float64(np.finfo(np.float32).tiny)
    return np.where(scale > tiny, scale, 1.0).astype(np.float32)

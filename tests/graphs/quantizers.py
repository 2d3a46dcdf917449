"""Quantizers for tests."""

import numpy as np

from faceter.graphs.quantizer import Array, Quantizer


def symmetric(limit: Array | float, bits: Array | int, *, axis: int | None = None) -> Quantizer:
    """Return the symmetric, signed quantizer of a range [−a, a]: Z = 0 and S = a / (2^(b−1) − 1), 1 for a = 0.

    Args:
        limit: a, shape [] or [C].
        bits: b, 2 to 8; or one per channel, shape [C].
        axis: The channel axis, for shape [C].
    """
    each = np.asarray(bits, np.int32)
    scale = np.asarray(limit, np.float64) / ((1 << (each - 1)) - 1)
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1.0)
    channel_bits = each if each.ndim else None
    return Quantizer(scale, np.zeros(scale.shape, np.int32), int(each.max()), axis, channel_bits, signed=True)

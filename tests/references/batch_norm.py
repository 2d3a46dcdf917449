"""The BatchNorm statistics loss of ZeroQ and GDFQ, channel by channel."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def batch_norm_loss(inputs: Sequence[Array], means: Sequence[Array], variances: Sequence[Array]) -> float:
    """Return Σ_l ‖μ_l(x) − μ_l^BN‖² + ‖σ_l(x) − σ_l^BN‖² for the inputs [N, C, …] of every BatchNorm."""
    total = 0.0
    for x, mean, variance in zip(inputs, means, variances, strict=True):
        for channel in range(x.shape[1]):
            values = np.concatenate([sample[channel].ravel() for sample in x])
            total += (values.sum() / values.size - mean[channel]) ** 2
            deviation = np.sqrt(((values - values.mean()) ** 2).sum() / values.size)
            total += (deviation - np.sqrt(variance[channel])) ** 2
    return total

"""Shift of a convolution's mean output by an error of its weights (bias correction)."""

import numpy as np
from numpy.typing import NDArray


def convolution_shift(error: NDArray[np.float64], means: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """E[ε x] of every output channel, summed weight by weight."""
    outputs, per_group = error.shape[:2]
    shift = np.zeros(outputs)
    for output in range(outputs):
        group = output // (outputs // groups)
        for index in range(per_group):
            for weight in error[output, index].reshape(-1):
                shift[output] += weight * means[group * per_group + index]
    return shift

"""A model's inputs as images again: preprocessing undone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.models import ChannelOrder, Preprocessing

Pixels = NDArray[np.uint8]


def to_pixels(inputs: NDArray[Any], preprocessing: Preprocessing) -> Pixels:
    """Return the images that preprocessing made inputs from: round((x · std + mean) / scale), clipped to 0…255.

    What lies outside the range of pixels, as synthetic inputs may, becomes its nearest end.

    Args:
        inputs: [N, C, H, W] in the model's own channel order.
        preprocessing: How images become the model's input.

    Returns:
        uint8 [N, 3, H, W], red first, or [N, 1, H, W] for a gray model.
    """
    std, mean = (np.asarray(v, np.float64).reshape(1, -1, 1, 1) for v in (preprocessing.std, preprocessing.mean))
    values = (inputs.astype(np.float64) * std + mean) / preprocessing.scale
    pixels = np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)
    return pixels[:, ::-1] if preprocessing.channel_order is ChannelOrder.BGR else pixels


def stretched(inputs: NDArray[Any]) -> Pixels:
    """Return inputs that nothing is known about as images, each stretched from its smallest value to its largest.

    Args:
        inputs: [N, C, H, W]; of other than 3 channels their mean is shown, in gray.

    Returns:
        uint8 [N, 3, H, W] or [N, 1, H, W]; an image of one value is middling gray.
    """
    values = np.nan_to_num(inputs.astype(np.float64))
    if values.shape[1] not in (1, 3):
        values = values.mean(axis=1, keepdims=True)
    low, high = (end(values, axis=(1, 2, 3), keepdims=True) for end in (np.min, np.max))
    spread = high - low
    shares = np.where(spread > 0, (values - low) / np.where(spread > 0, spread, 1.0), 0.5)
    pixels: Pixels = np.rint(255 * shares).astype(np.uint8)
    return pixels

"""A model's inputs as images: preprocessing inverted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.preprocessing import ChannelOrder, Preprocessing

Pixels = NDArray[np.uint8]


def to_pixels(inputs: NDArray[Any], preprocessing: Preprocessing) -> Pixels:
    """Return the images that preprocessing turns into inputs: round((x · std + mean) / scale), clipped to 0…255.

    Values outside the range of pixels, which synthetic inputs may have, are clipped.

    Args:
        inputs: [N, C, H, W] in the model's own channel order, whatever its layout.
        preprocessing: How images become the model's input.

    Returns:
        uint8 [N, 3, H, W], red first, or [N, 1, H, W] for a gray model.
    """
    std, mean = (np.asarray(v, np.float64).reshape(1, -1, 1, 1) for v in (preprocessing.std, preprocessing.mean))
    values = (inputs.astype(np.float64) * std + mean) / preprocessing.scale
    pixels = np.clip(np.rint(np.nan_to_num(values)), 0, 255).astype(np.uint8)
    return pixels[:, ::-1] if preprocessing.channel_order is ChannelOrder.BGR else pixels

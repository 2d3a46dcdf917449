"""Instance masks by pycocotools."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


def mask_pixels(mask: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return uint8 [height, width] of a mask in compressed run lengths: `size` and `counts`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pixels: NDArray[np.uint8] = coco_mask.decode(dict(mask))  # type: ignore[no-untyped-call]
    return pixels


def run_lengths(pixels: NDArray[np.bool_]) -> str:
    """Return the compressed run lengths of bool [height, width]."""
    encoded = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))  # type: ignore[no-untyped-call]
    return str(encoded["counts"].decode())

"""Conversion of pixels to a generator's input values, and of its output values to pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.preprocessing import ChannelOrder, Preprocessing
from faceter.vision.decoded_image import Pixels
from faceter.vision.preprocess import value_table

FloatArray = NDArray[np.float32]

DEFAULT_PREPROCESSING = Preprocessing(size=[256, 256], mean=[0.5], std=[0.5])
"""Pixels scaled to [−1, 1], as generators are trained; used if a model's metadata have no preprocessing."""


@dataclass(frozen=True)
class PaddedImage:
    """An image padded below and to the right by reflection; values are computed when they are read.

    Padding wider than the image is reflected repeatedly.

    Attributes:
        colour: uint8 [H, W, 3].
        preprocessing: (pixel · scale − mean) / std, and the channel order.
    """

    colour: Pixels
    preprocessing: Preprocessing = DEFAULT_PREPROCESSING

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
        """Return the values of a tile, float32 [3, h, w].

        Args:
            rows: First row, and the one after the last; rows from H on are padding.
            columns: First column, and the one after the last.
        """
        height, width = self.colour.shape[:2]
        tile = self.colour[reflected_indices(*rows, height)][:, reflected_indices(*columns, width)]
        if self.preprocessing.channel_order is ChannelOrder.BGR:
            tile = tile[..., ::-1]
        table = value_table(self.preprocessing)
        return np.stack([np.take(values, tile[..., channel]) for channel, values in enumerate(table)])


class TranslationBuffer:
    """The pixels of a translation, written tile by tile.

    Args:
        height: Its height without padding.
        width: Its width.
        preprocessing: Of the generator; inverted: pixel = (value · std + mean) / scale, rounded, clipped to 0 … 255.
    """

    def __init__(self, height: int, width: int, preprocessing: Preprocessing = DEFAULT_PREPROCESSING) -> None:
        self.colour: Pixels = np.zeros((height, width, 3), np.uint8)
        self._preprocessing = preprocessing

    def write(self, tile: FloatArray, row: int, column: int) -> None:
        """Write the values of a tile, float32 [3, h, w], at its first row and column; padding is dropped.

        Raises:
            FaceterError: `INFERENCE_FAILED` if a value is not finite.
        """
        height, width = self.colour.shape[:2]
        tile = tile[:, : max(height - row, 0), : max(width - column, 0)]
        if not np.isfinite(tile).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                "The generator returned values that are not finite (NaN or infinite) for this image. Train it "
                "again, or use an earlier checkpoint.",
            )
        preprocessing = self._preprocessing
        mean, std = (
            np.array(numbers, np.float32).reshape(-1, 1, 1) for numbers in (preprocessing.mean, preprocessing.std)
        )
        pixels = (tile * std + mean) / np.float32(preprocessing.scale)
        np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels)
        if preprocessing.channel_order is ChannelOrder.BGR:
            pixels = pixels[::-1]
        self.colour[row : row + tile.shape[1], column : column + tile.shape[2]] = pixels.transpose(1, 2, 0)


def reflected_indices(start: int, stop: int, size: int) -> NDArray[np.intp]:
    """Return the indices into ``size`` values of positions ``start`` to ``stop`` of their padding by reflection.

    As numpy.pad's mode ``reflect``: the border value is not repeated; a single value is.
    """
    if size == 1:
        return np.zeros(stop - start, np.intp)
    indices = np.arange(start, stop) % (2 * size - 2)
    return np.minimum(indices, 2 * size - 2 - indices)

"""Pixels as a generator's values, and its values as pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import ChannelOrder, Preprocessing
from faceter.vision.decoded_image import Pixels
from faceter.vision.preprocess import value_table

FloatArray = NDArray[np.float32]

USUAL = Preprocessing(size=[256, 256], mean=[0.5], std=[0.5])
"""Pixels as generators are trained on them, from -1 to 1; taken where a model's metadata say nothing."""


@dataclass(frozen=True)
class PaddedImage:
    """An image, padded below and to the right by reflection, whose values are made when they are read.

    Where the padding is wider than the image, it is reflected again and again.

    Attributes:
        colour: uint8 [H, W, 3].
        preprocessing: (pixel · scale − mean) / std, and the channel order.
    """

    colour: Pixels
    preprocessing: Preprocessing = USUAL

    def read(self, rows: tuple[int, int], columns: tuple[int, int]) -> FloatArray:
        """Return the values of a part, float32 [3, h, w].

        Args:
            rows: First row, and the one after the last; rows from H on are padding.
            columns: First column, and the one after the last.
        """
        height, width = self.colour.shape[:2]
        part = self.colour[reflected(*rows, height)][:, reflected(*columns, width)]
        if self.preprocessing.channel_order is ChannelOrder.BGR:
            part = part[..., ::-1]
        table = value_table(self.preprocessing)
        return np.stack([np.take(values, part[..., channel]) for channel, values in enumerate(table)])


class Translation:
    """A translated image that is filled part by part.

    Args:
        height: Its height without padding.
        width: Its width.
        preprocessing: The generator's, which is undone: pixel = (value · std + mean) / scale, rounded, held to 0 … 255.
    """

    def __init__(self, height: int, width: int, preprocessing: Preprocessing = USUAL) -> None:
        self.colour: Pixels = np.zeros((height, width, 3), np.uint8)
        self._preprocessing = preprocessing

    def write(self, part: FloatArray, row: int, column: int) -> None:
        """Take the values of a part, float32 [3, h, w]; what lies in the padding is dropped.

        Args:
            part: Its values.
            row: Its first row.
            column: Its first column.

        Raises:
            FaceterError: `INFERENCE_FAILED` if a value is not finite.
        """
        height, width = self.colour.shape[:2]
        part = part[:, : max(height - row, 0), : max(width - column, 0)]
        if not np.isfinite(part).all():
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                "The generator gave values that are not finite (NaN or infinite) for this image. Train it again, or "
                "use an earlier checkpoint.",
            )
        said = self._preprocessing
        mean, std = (np.array(numbers, np.float32).reshape(-1, 1, 1) for numbers in (said.mean, said.std))
        pixels = (part * std + mean) / np.float32(said.scale)
        np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels)
        if said.channel_order is ChannelOrder.BGR:
            pixels = pixels[::-1]
        self.colour[row : row + part.shape[1], column : column + part.shape[2]] = pixels.transpose(1, 2, 0)


def reflected(first: int, end: int, size: int) -> NDArray[np.intp]:
    """Return the positions, within ``size`` values, of ``first`` to ``end`` when the values go on by reflection.

    The outermost value is not repeated, as numpy.pad's mode ``reflect`` has it; of one value all are that one.
    """
    if size == 1:
        return np.zeros(end - first, np.intp)
    places = np.arange(first, end) % (2 * size - 2)
    return np.minimum(places, 2 * size - 2 - places)

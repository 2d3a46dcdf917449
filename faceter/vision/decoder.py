"""Decodes image files for a model's input, by the `decoder` of its preprocessing.

Predictions, datasets and explanations open images here, so that a model gets the same pixels from each of them.
"""

from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from PIL import Image

from faceter.contracts.preprocessing import Decoder, Preprocessing
from faceter.vision.boxes import FloatArray
from faceter.vision.images import TURNED, opened_file, orientation_of, upright_rgb
from faceter.vision.preprocess import Placement, preprocess
from faceter.vision.resampling.plan import Size, resize_plan

_JPEG: Final = ("JPEG", "MPO")
"""Pillow's names of JPEG files; MPO has several images, of which the first is taken."""
_REDUCTIONS: Final = (8, 4, 2)
"""By which libjpeg divides the size, the largest first."""
_MIRRORED: Final = (2, 3, 6, 7)
"""EXIF orientations that turn the right side, or the bottom, of the file to the left."""
_UPSIDE_DOWN: Final = (3, 4, 7, 8)
"""EXIF orientations that turn the bottom, or the right side, of the file to the top."""


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image decoded for a model's input, RGB and upright.

    Attributes:
        pixels: The image, at a part of its size if the file was decoded so.
        preprocessing: The model's.
        size: Width and height of the whole image, pixels.
        reduction: Pixels of the whole image per decoded pixel in x and in y.
        margin: Pixels of the whole image that the decoded one has beyond its left and its upper side: libjpeg rounds
            sizes up, which adds them on the right and at the bottom of the file.
    """

    pixels: Image.Image
    preprocessing: Preprocessing
    size: Size
    reduction: int = 1
    margin: tuple[int, int] = (0, 0)

    def preprocessed(self) -> tuple[FloatArray, Placement]:
        """Return the model's input, float32 of ``preprocessing.shape``, and the position of the whole image in it."""
        values, placement = preprocess(self.pixels, self.preprocessing)
        if self.reduction == 1:
            return values, placement
        across, down = (scale / self.reduction for scale in placement.scale)
        left, top = placement.offset
        offset = (left + self.margin[0] * across, top + self.margin[1] * down)
        return values, replace(placement, scale=(across, down), offset=offset, image=self.size)


def open_input_image(
    source: BinaryIO | bytes, preprocessing: Preprocessing, *, max_pixels: int, name: str
) -> InputImage:
    """Open an image file for a model's input.

    With the decoder ``full`` the pixels are those of `open_rgb_image`. With ``scaled`` a JPEG file is decoded at the
    smallest of 1, 1/2, 1/4 and 1/8 of its size that the preprocessing does not enlarge; sizes are rounded up.

    Args:
        source: The file, or its bytes, as for `open_rgb_image`.
        preprocessing: The model's.
        max_pixels: Limit of width × height of the whole image; checked before decoding.
        name: Name of the image in errors.

    Raises:
        FaceterError: As `open_rgb_image` does.
    """
    with opened_file(source, max_pixels=max_pixels, name=name) as image:
        if preprocessing.decoder is Decoder.FULL or image.format not in _JPEG:
            pixels = upright_rgb(image, name)
            return InputImage(pixels, preprocessing, pixels.size)
        orientation = orientation_of(image)
        size = _upright(image.size, orientation)
        reduction = _reduction(size, preprocessing)
        image.draft(None, (image.width // reduction, image.height // reduction))
        width, height = _upright(image.size, orientation)
        margin = (
            reduction * width - size[0] if orientation in _MIRRORED else 0,
            reduction * height - size[1] if orientation in _UPSIDE_DOWN else 0,
        )
        return InputImage(upright_rgb(image, name), preprocessing, size, reduction, margin)


def _upright(size: Size, orientation: int) -> Size:
    return (size[1], size[0]) if orientation in TURNED else size


def _reduction(size: Size, preprocessing: Preprocessing) -> int:
    """Return by what to divide the size: the largest reduction at which resizing enlarges neither axis, else 1."""
    for reduction in _REDUCTIONS:
        decoded = (-(-size[0] // reduction), -(-size[1] // reduction))
        if min(size) >= reduction and max(resize_plan(decoded, preprocessing).scale) <= 1:
            return reduction
    return 1

"""Which part of an image is resized to which size, and which part of that a model's input keeps."""

import math
from dataclasses import dataclass

from faceter.contracts.preprocessing import Preprocessing, Resampler, ResizeRule

Size = tuple[int, int]
"""Width and height, pixels."""

_ROUNDING = 1e-6
_ROUNDED_FRACTION = 1e-3


@dataclass(frozen=True)
class Region:
    """A rectangle, in pixels."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class ResizePlan:
    """The steps from an image to a model's input: cut out, resize, cut out again, place.

    Args:
        source: Part of the image that is resized; whole pixels, except where Pillow takes fractions.
        resized: Width and height to which it is resized.
        kept: Part of the resized image that the input holds, whole pixels.
        position: Left and top of that part in the input.
        scale: Resized pixels per image pixel in x and y.
    """

    source: Region
    resized: Size
    kept: Region
    position: Size
    scale: tuple[float, float]

    @property
    def offset(self) -> tuple[float, float]:
        """Left top corner of the image in the input, pixels."""
        return (
            self.position[0] - self.kept.left - self.source.left * self.scale[0],
            self.position[1] - self.kept.top - self.source.top * self.scale[1],
        )


def resize_plan(image: Size, preprocessing: Preprocessing) -> ResizePlan:
    """Return the plan for an image.

    Sizes and positions are rounded as the resampler's library does: torchvision and timm for Pillow and torch,
    PaddleClas and Ultralytics for OpenCV, the EfficientNet and Inception evaluation for TensorFlow.

    Args:
        image: Width and height of the image.
        preprocessing: Size, resize rule, crop fraction and resampler.
    """
    height, width = preprocessing.size
    size = (width, height)
    resampler, fraction = preprocessing.resampler, preprocessing.crop_fraction
    if preprocessing.resize is ResizeRule.PAD:
        return _padded(image, size, resampler)
    if resampler is Resampler.TENSORFLOW:
        cut = _central(image, size, fraction or 1.0, keep_ratio=preprocessing.resize is ResizeRule.CROP)
        return _whole(cut, size)
    if preprocessing.resize is ResizeRule.CROP:
        if fraction is None and resampler is Resampler.PILLOW:
            return _covering_exactly(image, size)
        enlarged = _enlarged(size, fraction or 1.0)
        return _cropped(image, _covering(image, enlarged, resampler), size, resampler)
    if fraction is None:
        return _whole(Region(0, 0, *image), size)
    return _cropped(image, _enlarged(size, fraction), size, resampler)


def _whole(source: Region, size: Size, position: Size = (0, 0)) -> ResizePlan:
    scale = (size[0] / source.width, size[1] / source.height)
    return ResizePlan(source, size, Region(0, 0, *size), position, scale)


def _enlarged(size: Size, fraction: float) -> Size:
    """Return ⌊size / fraction⌋ (timm's ``scale_size``), where 224 / 232 may be given as 0.96552."""
    width, height = (math.floor(side / fraction + _ROUNDED_FRACTION) for side in size)
    return width, height


def _covering_exactly(image: Size, size: Size) -> ResizePlan:
    """Resize the visible part only, at fractions of pixels."""
    scale = max(size[0] / image[0], size[1] / image[1])
    visible = [min(side / scale, whole) for side, whole in zip(size, image, strict=True)]
    start = [(whole - side) / 2 for whole, side in zip(image, visible, strict=True)]
    return ResizePlan(Region(*start, *visible), size, Region(0, 0, *size), (0, 0), (scale, scale))


def _covering(image: Size, size: Size, resampler: Resampler) -> Size:
    """Return the size of the whole image, resized so that it covers ``size``."""
    if resampler is Resampler.OPENCV:
        factor = max(size[0] / image[0], size[1] / image[1])
        width, height = (max(least, round(side * factor)) for least, side in zip(size, image, strict=True))
    elif size[0] == size[1]:
        short = min(image)
        width, height = (int(size[0] * side / short) for side in image)
    else:
        ratio = min(image[0] / size[0], image[1] / size[1])
        width, height = (max(least, round(side / ratio)) for least, side in zip(size, image, strict=True))
    return width, height


def _cropped(image: Size, resized: Size, size: Size, resampler: Resampler) -> ResizePlan:
    margins = (resized[0] - size[0], resized[1] - size[1])
    left, top = (margin // 2 if resampler is Resampler.OPENCV else round(margin / 2) for margin in margins)
    scale = (resized[0] / image[0], resized[1] / image[1])
    return ResizePlan(Region(0, 0, *image), resized, Region(left, top, *size), (0, 0), scale)


def _central(image: Size, size: Size, fraction: float, *, keep_ratio: bool) -> Region:
    """Return the centre of an image: of the input's aspect ratio, else of the image's (``tf.image.central_crop``)."""
    if keep_ratio:
        whole = (min(image[0], image[1] * size[0] / size[1]), min(image[1], image[0] * size[1] / size[0]))
        width, height = (max(1, int(fraction * side)) for side in whole)
        return Region((image[0] - width + 1) // 2, (image[1] - height + 1) // 2, width, height)
    left, top = (int((side - side * fraction) / 2) for side in image)
    return Region(left, top, image[0] - 2 * left, image[1] - 2 * top)


def _padded(image: Size, size: Size, resampler: Resampler) -> ResizePlan:
    scale = min(size[0] / image[0], size[1] / image[1])
    if resampler is Resampler.TENSORFLOW:  # tf.image.resize_with_pad: sizes and margins rounded down
        exact = [min(side, whole * scale) for side, whole in zip(size, image, strict=True)]
        width, height = (max(1, math.floor(side + _ROUNDING)) for side in exact)
        left, top = (int((side - part + _ROUNDING) / 2) for side, part in zip(size, exact, strict=True))
    else:
        width, height = (max(1, min(side, round(whole * scale))) for side, whole in zip(size, image, strict=True))
        left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return _whole(Region(0, 0, *image), (width, height), (left, top))

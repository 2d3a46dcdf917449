"""Resizing by Pillow."""

import math
from typing import Final

from PIL import Image

from faceter.contracts.preprocessing import Interpolation
from faceter.vision.resampling.plan import ResizePlan

_FILTERS: Final = {
    Interpolation.NEAREST: Image.Resampling.NEAREST,
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
    Interpolation.LANCZOS: Image.Resampling.LANCZOS,
    Interpolation.AREA: Image.Resampling.BOX,
}
_MOST_PIXELS: Final = 1 << 26
_LARGEST_RADIUS: Final = 3
"""Of Pillow's kernels, in pixels of the smaller image."""


def pillow_resize(image: Image.Image, plan: ResizePlan, interpolation: Interpolation) -> Image.Image:
    """Return the part of the resized image that a plan keeps.

    An image of so extreme an aspect ratio that it would have more than 64 million pixels, resized as a whole, is
    resized in this part only; pixel values may then differ by one from those of the whole.
    """
    resampling = _FILTERS[interpolation]
    kept = (int(plan.kept.left), int(plan.kept.top), int(plan.kept.width), int(plan.kept.height))
    source = plan.source
    if kept == (0, 0, *plan.resized):
        box = (
            source.left,
            source.top,
            min(source.left + source.width, image.width),
            min(source.top + source.height, image.height),
        )
        return image.resize(plan.resized, resampling, box=box)
    left, top, width, height = kept
    if plan.resized[0] * plan.resized[1] <= _MOST_PIXELS:
        return image.resize(plan.resized, resampling).crop((left, top, left + width, top + height))
    return _part(image, plan, resampling)


def _part(image: Image.Image, plan: ResizePlan, resampling: Image.Resampling) -> Image.Image:
    """Resize the kept part alone, cut out with a margin, since Pillow rounds the corners of a box to 24 bits."""
    spans = []
    for first, count, scale, whole in (
        (plan.kept.left, plan.kept.width, plan.scale[0], image.width),
        (plan.kept.top, plan.kept.height, plan.scale[1], image.height),
    ):
        start, end = first / scale, min((first + count) / scale, whole)
        margin = math.ceil(_LARGEST_RADIUS * max(1 / scale, 1)) + 1
        cut = max(0, math.floor(start) - margin)
        spans.append((cut, min(whole, math.ceil(end) + margin), start - cut, end - cut))
    (left, right, start_x, end_x), (top, bottom, start_y, end_y) = spans
    cut_out = image.crop((left, top, right, bottom))
    return cut_out.resize(
        (int(plan.kept.width), int(plan.kept.height)), resampling, box=(start_x, start_y, end_x, end_y)
    )

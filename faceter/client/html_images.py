"""Images with what was found on them, as SVG for notebooks. They need Pillow."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Final

from faceter.contracts.predictions import Detection

MOST_IMAGES: Final = 4
_NARROWEST: Final = 96
_WIDTH: Final = 480
_LONGEST_SIDE: Final = 960
_COLOR: Final = "#e8590c"


def image_with_boxes(content: bytes, boxes: Sequence[Detection] = ()) -> str:
    """Return an image file as SVG, upright, with the boxes on it; empty if it cannot be read.

    Args:
        content: An image file.
        boxes: Boxes in its pixels.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError:
        return ""
    try:
        with Image.open(io.BytesIO(content)) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return ""
    width, height = image.size
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file = io.BytesIO()
    kind = "png" if max(width, height) <= _WIDTH else "jpeg"
    image.save(file, kind)
    data = base64.b64encode(file.getvalue()).decode()
    unit = width / _WIDTH
    marks = "".join(_marked(box, unit) for box in boxes)
    return (
        f'<svg width="{min(max(width, _NARROWEST), _WIDTH)}" viewBox="0 0 {width} {height}">'
        f'<image width="{width}" height="{height}" href="data:image/{kind};base64,{data}"/>{marks}</svg>'
    )


def _marked(box: Detection, unit: float) -> str:
    left, top, right, bottom = box.box
    text = escape(f"{box.label} {box.score:.2f}")
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" fill="none" '
        f'stroke="{_COLOR}" stroke-width="{2 * unit:.2f}"/>'
        f'<text x="{left + 2 * unit:.1f}" y="{max(top - 4 * unit, 14 * unit):.1f}" font-size="{14 * unit:.1f}" '
        f'font-family="sans-serif" fill="{_COLOR}">{text}</text>'
    )

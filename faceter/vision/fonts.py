"""The font of figures."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def font_file(*, bold: bool = False) -> Path:
    """Return the path of DejaVu Sans, which comes with matplotlib, without importing matplotlib.

    Args:
        bold: Whether to return the bold font, for titles.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("The font of images comes with matplotlib, which is not installed.")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"

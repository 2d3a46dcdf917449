"""What annotations of boxes say, whatever format they come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faceter.datasets.errors import invalid_dataset
from faceter.vision.boxes import FloatArray, IntArray

COORDINATE_LIMIT = 1e9
"""Absolute values of coordinates must be below; excludes what is not finite."""
_MAX_PROBLEMS = 5


@dataclass(frozen=True)
class GroundTruth:
    """The annotated boxes of one image."""

    boxes: FloatArray
    """float64 [n, 4]: left, top, right, bottom, in the image's pixels."""
    classes: IntArray
    """int64 [n]: positions in the dataset's classes."""
    areas: FloatArray
    """float64 [n]: area in square pixels, which COCO's size classes depend on."""
    crowd: IntArray
    """int64 [n]: 1 where a box is ignored in matching, since it stands for a crowd or is difficult."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image and its boxes."""

    name: str
    """Its name in the archive."""
    source: str
    """The file that annotates it."""
    truth: GroundTruth
    """Its boxes."""
    size: tuple[int, int] | None = None
    """Its width and height by the annotations; None if they say nothing of it."""


@dataclass(frozen=True)
class DetectionAnnotations:
    """The classes and images of a dataset."""

    classes: list[str]
    """Names of the classes, all different."""
    images: list[AnnotatedImage]
    """The images, in the order of the annotations."""
    files: list[str]
    """The files that hold the annotations."""
    source: str
    """What warnings call these files."""
    warnings: list[str] = field(default_factory=list)
    """What was ignored, or read in a way worth knowing."""


def ground_truth(
    boxes: Sequence[Sequence[float]],
    classes: Sequence[int],
    areas: Sequence[float | None] | None = None,
    crowd: Sequence[bool] | None = None,
) -> GroundTruth:
    """Return the boxes of an image.

    Args:
        boxes: Left, top, right and bottom of each.
        classes: Position of the class of each.
        areas: Area of each; that of the box where it is not given.
        crowd: Whether each is ignored in matching; none by default.
    """
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    own = (corners[:, 2:] - corners[:, :2]).prod(axis=1)
    given = [None] * len(corners) if areas is None else areas
    return GroundTruth(
        boxes=corners,
        classes=np.array(classes, np.int64),
        areas=np.array([box if area is None else area for area, box in zip(given, own, strict=True)], np.float64),
        crowd=np.zeros(len(corners), np.int64) if crowd is None else np.array(crowd, np.int64),
    )


def is_coordinate(value: Any) -> bool:
    """Return whether a value is a number, finite and not absurdly large."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < COORDINATE_LIMIT


def raise_problems(problems: Sequence[str], file: str | None = None) -> None:
    """Raise an error that names the first few problems, if there are any.

    Args:
        problems: One sentence each, without a full stop.
        file: The file that all are in; if not given, each names its own.

    Raises:
        FaceterError: ``INVALID_DATASET``.
    """
    if problems:
        more = f" And {len(problems) - _MAX_PROBLEMS} more." if len(problems) > _MAX_PROBLEMS else ""
        start = "" if file is None else f"{file}: "
        raise invalid_dataset(f"{start}{'; '.join(problems[:_MAX_PROBLEMS])}.{more}")

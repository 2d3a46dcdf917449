"""Image regions that show a concept, cut out and pasted into other images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import label as connected_components  # type: ignore[attr-defined]

from faceter.datasets.concepts import ConceptsDataset

_MIN_AREA = 0.002
"""Smallest region, as a fraction of its image."""


@dataclass(frozen=True)
class ConceptRegion:
    """A connected region of a concept."""

    concept: str
    """Name of the concept."""
    index: int
    """Index of the image."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom in pixels."""
    mask: NDArray[np.bool_]
    """Pixels of the box, bool [height, width]."""

    def pasted(self, into: Image.Image, source: Image.Image) -> Image.Image:
        """Return an image with the region pasted at its relative position and size.

        Args:
            into: The image to change.
            source: The image that the region is of.
        """
        left, top, right, bottom = self.box
        across, down = into.width / source.width, into.height / source.height
        size = (max(1, round((right - left) * across)), max(1, round((bottom - top) * down)))
        patch = source.crop(self.box).resize(size, Image.Resampling.BILINEAR)
        mask = Image.fromarray(self.mask.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
        changed = into.copy()
        changed.paste(patch, (round(left * across), round(top * down)), mask)
        return changed

    def over(self, source: Image.Image) -> NDArray[np.bool_]:
        """Return the region as a mask of the whole image that it is of, bool [height, width]."""
        left, top, right, bottom = self.box
        mask = np.zeros((source.height, source.width), np.bool_)
        mask[top:bottom, left:right] = self.mask
        return mask


def find_regions(data: ConceptsDataset) -> dict[str, list[ConceptRegion]]:
    """Return for each concept its largest connected region in each image, without very small ones."""
    regions: dict[str, list[ConceptRegion]] = {}
    for index in range(len(data)):
        for category, labels in zip(data.pixel_categories, data.label_maps(index), strict=True):
            for value in np.unique(labels[labels > 0]).tolist():
                region = _largest(data.categories[category][value - 1], index, labels == value)
                if region is not None:
                    regions.setdefault(region.concept, []).append(region)
    return regions


def _largest(concept: str, index: int, mask: NDArray[np.bool_]) -> ConceptRegion | None:
    components, count = connected_components(mask)
    sizes = np.bincount(components.reshape(-1), minlength=count + 1)[1:]
    if not count or sizes.max() < _MIN_AREA * mask.size:
        return None
    largest = components == int(sizes.argmax()) + 1
    rows, columns = np.flatnonzero(largest.any(axis=1)), np.flatnonzero(largest.any(axis=0))
    box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    return ConceptRegion(concept, index, box, largest[box[1] : box[3], box[0] : box[2]])

"""Images with labelled pixels, as a model sees them and at the resolution of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from PIL import Image

from faceter.contracts.explanations import DerivedConcept, ExplanationRequest
from faceter.contracts.models import Model, Preprocessing
from faceter.datasets.concepts import ConceptsDataset
from faceter.explanations.derived import DERIVED
from faceter.vision.preprocess import Placement, preprocess
from workers.explanation.colors import color_numbers
from workers.explanation.samples import PIXELS_OF_IMAGES, ConceptList, Frame, Group, Integers, Labels, Read
from workers.model_input import checked_image_input

_ABOUT: Final = "images"


class ImageSamples:
    """The images of a dataset; see `workers.explanation.samples.Samples`.

    Args:
        data: The dataset.
        model: Takes them.
        request: Which further concepts, and at what resolution.
    """

    about: Literal["images"] = _ABOUT
    classes: Integers | None = None

    def __init__(self, data: ConceptsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data = data
        self._preprocessing, self._input = checked_image_input(model.metadata, model.inputs, "dataset_id")
        height, width = request.resolution or PIXELS_OF_IMAGES
        self.grid = (height, width)
        self.notes: list[str] = []
        listed = ConceptList()
        self._of_category: dict[str, Group] = {}
        for category, names in data.categories.items():
            labelled = category in data.pixel_categories
            add = listed.add_group if labelled else listed.add
            self._of_category[category] = add(category, names)
        self._order = [list(data.pixel_categories).index(category) for category in self._pixel_categories()]
        self._derived = [
            (kind, [listed.add_group(category, names) for category, names in DERIVED[kind][_ABOUT].items()])
            for kind in request.derived_concepts
        ]
        self.concepts, self.groups = listed.concepts, listed.groups

    @property
    def input_values(self) -> int:
        """How many values one image has as the model's input."""
        height, width = self._preprocessing.size
        return self._preprocessing.channels * height * width

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> Read:
        """Read some images and their labels; each image is decoded once."""
        inputs, labels, frames = [], [], []
        for index in indices:
            image = self._data.image(index)
            values, placement = preprocess(image, self._preprocessing)
            inputs.append(values)
            labels.append(self._labels(index, image))
            frames.append(frame_of(placement, self._preprocessing))
        return Read({self._input: np.stack(inputs)}, labels, frames)

    def _pixel_categories(self) -> list[str]:
        return [category for category in self._data.categories if category in self._data.pixel_categories]

    def _labels(self, index: int, image: Image.Image) -> Labels:
        maps = self._data.label_maps(index)
        values = [self._at_grid(maps[place]) for place in self._order]
        for kind, _ in self._derived:
            values.extend(_position(self.grid) if kind is DerivedConcept.POSITION else [self._colors(image)])
        pixels = self.grid[0] * self.grid[1]
        stacked = np.stack(values) if values else np.zeros((0, pixels), np.int64)
        # a concept of labelled pixels that is said of the whole image too is true of all its pixels
        everywhere = self._data.image_concepts(index)
        return Labels(stacked, tuple(everywhere))

    def _at_grid(self, label: Integers) -> Integers:
        """Return a label map, [H, W], at the grid's pixels, by nearest neighbour: int64 [pixels]."""
        rows, columns = (
            np.minimum(((np.arange(count) + 0.5) * size / count).astype(np.int64), size - 1)
            for count, size in zip(self.grid, label.shape, strict=True)
        )
        return np.asarray(label[rows[:, None], columns].reshape(-1), np.int64)

    def _colors(self, image: Image.Image) -> Integers:
        height, width = self.grid
        small = image.resize((width, height), Image.Resampling.BOX)
        return color_numbers(np.asarray(small, np.uint8)).reshape(-1)


def frame_of(placement: Placement, preprocessing: Preprocessing) -> Frame:
    """Return where an image lies in the model's input, as fractions."""
    height, width = preprocessing.size
    (scale_x, scale_y), (left, top), (wide, high) = placement.scale, placement.offset, placement.image
    frame = Frame((scale_y * high / height, scale_x * wide / width), (top / height, left / width))
    return Frame() if np.allclose((*frame.scale, *frame.offset), (1, 1, 0, 0), atol=1e-9) else frame


def _position(grid: tuple[int, int]) -> list[Integers]:
    """Return the third of the rows and of the columns that each pixel lies in, 1 to 3."""
    rows, columns = (np.minimum(np.arange(size) * 3 // size, 2) + 1 for size in grid)
    return [np.repeat(rows, grid[1]), np.tile(columns, grid[0])]

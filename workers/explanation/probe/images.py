"""Probe datasets of images with labelled pixels (Network Dissection, section 2.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from PIL import Image

from faceter.contracts.explanations import DerivedConcept, ExplanationRequest
from faceter.contracts.models import Model
from faceter.contracts.preprocessing import Preprocessing
from faceter.datasets.concepts import ConceptsDataset
from faceter.explanations.derived import DERIVED_CONCEPTS
from faceter.vision.decoder import InputImage
from faceter.vision.preprocess import Placement, as_dtype
from workers.explanation.probe.colors import color_numbers
from workers.explanation.probe.dataset import (
    DEFAULT_RESOLUTION,
    ConceptList,
    InputPlacement,
    Integers,
    ProbeBatch,
    SampleConcepts,
)
from workers.model_input import require_image_input

_ABOUT: Final = "images"


class ImageProbeDataset:
    """A `ProbeDataset` of images.

    Args:
        data: The dataset.
        model: The model to run on it.
        request: Names derived concepts and the resolution of masks.
    """

    about: Literal["images"] = _ABOUT
    classes: Integers | None = None

    def __init__(self, data: ConceptsDataset, model: Model, request: ExplanationRequest) -> None:
        self._data = data
        self._preprocessing, self._input = require_image_input(model.metadata, model.inputs, "dataset_id")
        self._dtype = model.inputs[0].dtype
        height, width = request.resolution or DEFAULT_RESOLUTION
        self.grid = (height, width)
        self.warnings: list[str] = []
        listed = ConceptList()
        self._order: list[int] = []
        for category, names in data.categories.items():
            if category in data.pixel_categories:
                self._order.append(list(data.pixel_categories).index(category))
                listed.add_label_map(category, names)
            else:
                listed.add(category, names)
        self._derived = list(request.derived_concepts)
        for kind in self._derived:
            for category, names in DERIVED_CONCEPTS[kind][_ABOUT].items():
                listed.add_label_map(category, names)
        self.concepts, self.label_maps = listed.concepts, listed.label_maps

    @property
    def input_size(self) -> int:
        """Values in the model's input for one image."""
        return math.prod(self._preprocessing.shape)

    def __len__(self) -> int:
        return len(self._data)

    def read(self, indices: Sequence[int]) -> ProbeBatch:
        """Read some images and their labels.

        Each image is decoded once; a second time, at its full size, if colours are asked for and the model's decoder
        reduced it, since concepts are those of the dataset, whatever the model.
        """
        inputs, concepts, placements = [], [], []
        for index in indices:
            image = self._data.input_image(index, self._preprocessing)
            values, placement = image.preprocessed()
            inputs.append(values)
            concepts.append(self._concepts(index, image))
            placements.append(input_placement(placement, self._preprocessing))
        return ProbeBatch({self._input: as_dtype(np.stack(inputs), self._dtype)}, concepts, placements)

    def _concepts(self, index: int, image: InputImage) -> SampleConcepts:
        maps = self._data.label_maps(index)
        labels = [self._at_grid(maps[place]) for place in self._order]
        for kind in self._derived:
            labels.extend(_position(self.grid) if kind is DerivedConcept.POSITION else [self._colors(index, image)])
        pixels = self.grid[0] * self.grid[1]
        stacked = np.stack(labels) if labels else np.zeros((0, pixels), np.int64)
        # a concept of pixels may label the whole image too: then it holds at all of them
        return SampleConcepts(stacked, tuple(self._data.image_concepts(index)))

    def _at_grid(self, label: Integers) -> Integers:
        """Return a label map [H, W] at the resolution of masks, by nearest neighbour, int64 [pixels]."""
        rows, columns = (
            np.minimum(((np.arange(count) + 0.5) * size / count).astype(np.int64), size - 1)
            for count, size in zip(self.grid, label.shape, strict=True)
        )
        return np.asarray(label[rows[:, None], columns].reshape(-1), np.int64)

    def _colors(self, index: int, image: InputImage) -> Integers:
        height, width = self.grid
        whole = image.pixels if image.reduction == 1 else self._data.image(index)
        small = whole.resize((width, height), Image.Resampling.BOX)
        return color_numbers(np.asarray(small, np.uint8)).reshape(-1)


def input_placement(placement: Placement, preprocessing: Preprocessing) -> InputPlacement:
    """Return where an image lies in the model's input, in fractions instead of pixels."""
    height, width = preprocessing.size
    (scale_x, scale_y), (left, top), (wide, high) = placement.scale, placement.offset, placement.image
    relative = InputPlacement((scale_y * high / height, scale_x * wide / width), (top / height, left / width))
    whole = np.allclose((*relative.scale, *relative.offset), (1, 1, 0, 0), atol=1e-9)
    return InputPlacement() if whole else relative


def _position(grid: tuple[int, int]) -> list[Integers]:
    """Return in which third of the rows and of the columns each pixel lies, 1 to 3."""
    rows, columns = (np.minimum(np.arange(size) * 3 // size, 2) + 1 for size in grid)
    return [np.repeat(rows, grid[1]), np.tile(columns, grid[0])]

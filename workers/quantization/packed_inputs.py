"""Packing of all inputs of a network into one float32 tensor, so that tuning handles one tensor for any network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.contracts.models import TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from faceter.graphs.shapes import FLOAT_TYPES
from workers.model_input import Batch
from workers.quantization.noise import concrete_shape, takes_images


def input_packing(specs: Sequence[TensorSpec], preprocessing: Preprocessing | None) -> InputPacking:
    """Return the packing of a model's inputs.

    Args:
        specs: The inputs, with concrete shapes apart from the batch axis.
        preprocessing: How images become the input, if it takes images.
    """
    images = len(specs) == 1 and preprocessing is not None and takes_images(specs[0], preprocessing)
    return InputPacking(specs, images and preprocessing is not None and preprocessing.channels_last)


@dataclass(frozen=True)
class InputPacking:
    """How the inputs of a network become one tensor.

    A single float input [N, C, …] is the tensor itself; of images [N, H, W, C] the channels are moved to the front.
    Otherwise a sample is a row [D] of all its values, one input after another; integers are exact up to 2²⁴. Where
    inputs do not share a batch axis, a sample is a whole run of the network.

    Args:
        specs: The inputs, with concrete shapes apart from the batch axis.
        channels_last: Whether the single input is of images [N, H, W, C].
    """

    specs: Sequence[TensorSpec]
    channels_last: bool = False

    @property
    def is_single(self) -> bool:
        """Whether the tensor is the network's single input."""
        return len(self.specs) == 1 and self.is_float and len(self.specs[0].shape) > 1

    @property
    def is_float(self) -> bool:
        """Whether every input holds floats, and so can be interpolated and optimized by gradient."""
        return all(spec.dtype in FLOAT_TYPES for spec in self.specs)

    @property
    def whole_runs(self) -> bool:
        """Whether a sample is a whole run: the inputs do not share a first axis."""
        return len({spec.shape[0] if spec.shape else None for spec in self.specs}) > 1 or not self.specs[0].shape

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one packed sample."""
        if self.is_single:
            shape = tuple(concrete_shape(self.specs[0], 1)[1:])
            return (shape[-1], *shape[:-1]) if self.channels_last else shape
        return (sum(prod(self._sample(spec)) for spec in self.specs),)

    def pack(self, batch: Batch) -> NDArray[np.float32]:
        """Return inputs by name as one array, [N, …]."""
        if self.is_single:
            values = np.asarray(batch[self.specs[0].name], np.float32)
            return np.ascontiguousarray(np.moveaxis(values, -1, 1)) if self.channels_last else values
        parts = [
            np.asarray(batch[spec.name]).astype(np.float32).reshape(-1, prod(self._sample(spec))) for spec in self.specs
        ]
        return np.concatenate(parts, axis=1)

    def unpack(self, values: NDArray[np.float32]) -> Batch:
        """Return packed inputs by name, in their dtypes."""
        if self.is_single:
            moved = np.moveaxis(values, 1, -1) if self.channels_last else values
            return {self.specs[0].name: np.ascontiguousarray(moved.astype(self.specs[0].dtype))}
        parts = [part.numpy() for part in self._split(torch.from_numpy(values))]
        return {
            spec.name: (part if spec.dtype in FLOAT_TYPES else np.rint(part)).astype(spec.dtype)
            for spec, part in zip(self.specs, parts, strict=True)
        }

    def to_network(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Return packed inputs as the network takes them; gradients pass to those that are floats."""
        if self.is_single:
            return x.movedim(1, -1) if self.channels_last else x
        return {
            spec.name: part if spec.dtype in FLOAT_TYPES else part.round().to(getattr(torch, spec.dtype))
            for spec, part in zip(self.specs, self._split(x), strict=True)
        }

    def _split(self, x: Tensor) -> list[Tensor]:
        parts = torch.split(x, [prod(self._sample(spec)) for spec in self.specs], dim=1)
        return [part.reshape(self._shape(spec, len(x))) for spec, part in zip(self.specs, parts, strict=True)]

    def _sample(self, spec: TensorSpec) -> list[int]:
        shape = concrete_shape(spec, 1)
        return shape if self.whole_runs else shape[1:]

    def _shape(self, spec: TensorSpec, samples: int) -> list[int]:
        return self._sample(spec) if self.whole_runs else [samples, *self._sample(spec)]

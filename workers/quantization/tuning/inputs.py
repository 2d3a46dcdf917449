"""The space that inputs are made in: the model's one float input, its shape, the values it can take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import Preprocessing, TensorSpec
from workers.quantization.noise import concrete_shape, noise_batches, takes_images
from workers.quantization.prepared import Prepared
from workers.quantization.tuning.losses import find_heads


@dataclass(frozen=True)
class InputSpace:
    """Where inputs are searched for when there are no data.

    Args:
        spec: The model's input.
        shape: One sample, the batch left out.
        low: Smallest value of each channel, [1, C, 1, 1]; None where nothing bounds it.
        high: Largest value of each channel, likewise.
        fixed: The batch that the model wants, None if any will do.
        model: The model, for noise.
        preprocessing: How images become the input, if it takes images.
    """

    spec: TensorSpec
    shape: tuple[int, ...]
    low: Tensor | None
    high: Tensor | None
    fixed: int | None
    model: onnx.ModelProto
    preprocessing: Preprocessing | None

    @property
    def images(self) -> bool:
        """Whether a sample is an image."""
        return self.low is not None

    @property
    def spatial(self) -> int:
        """Number of axes after the channels."""
        return len(self.shape) - 1

    def to(self, device: torch.device) -> InputSpace:
        """Return the same with its bounds on a device."""
        if self.low is None or self.high is None:
            return self
        return InputSpace(
            self.spec,
            self.shape,
            self.low.to(device),
            self.high.to(device),
            self.fixed,
            self.model,
            self.preprocessing,
        )

    def clamp(self, x: Tensor) -> Tensor:
        """Return values that an image could have; others as they are."""
        if self.low is None or self.high is None:
            return x
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def from_unit(self, x: Tensor) -> Tensor:
        """Return inputs of what is 0 to 1 for the smallest and largest pixel, or −1 to 1 for what has no bounds."""
        if self.low is None or self.high is None:
            return x
        return self.low + x * (self.high - self.low)

    def noise(self, samples: int, seed: int) -> Tensor:
        """Return seeded noise shaped like the input, [samples, …]: 1/f images, or N(0, 1)."""
        free = self.spec.model_copy(update={"shape": ["samples", *self.spec.shape[1:]]})
        batches = noise_batches(self.model, [free], self.preprocessing, samples=samples, batch=samples, seed=seed)
        return torch.from_numpy(np.concatenate([np.asarray(batch[self.spec.name]) for batch in batches]))


def input_space(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None
) -> InputSpace | None:
    """Return the space of a model's inputs; None if it takes several, or values that are no float numbers.

    Args:
        model: The model.
        inputs: Its inputs.
        preprocessing: How images become its input, if it takes images.
    """
    if len(inputs) != 1 or inputs[0].dtype not in ("float32", "float16", "float64") or len(inputs[0].shape) < 2:
        return None
    spec = inputs[0]
    low = high = None
    if preprocessing is not None and takes_images(spec, preprocessing):
        mean, std = (
            np.broadcast_to(np.asarray(values, np.float32), preprocessing.channels).reshape(1, -1, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        ends = [torch.from_numpy((np.float32(255 * preprocessing.scale * end) - mean) / std) for end in (0, 1)]
        low, high = ends
    fixed = spec.shape[0] if isinstance(spec.shape[0], int) else None
    return InputSpace(spec, tuple(concrete_shape(spec, preprocessing, 1)[1:]), low, high, fixed, model, preprocessing)


def searchable(prepared: Prepared) -> bool:
    """Whether inputs can be made for a network by gradient, and something be learned from its answers."""
    heads = find_heads(prepared.model, prepared.metadata)
    return bool(heads.tensors) and input_space(prepared.model, prepared.inputs, prepared.preprocessing) is not None


def require_input_space(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None
) -> InputSpace:
    """Do as :func:`input_space`, for methods that cannot do without.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``.
    """
    space = input_space(model, inputs, preprocessing)
    if space is None:
        raise FaceterError(
            ProblemKind.METHOD_NOT_APPLICABLE,
            "This method makes inputs by gradient, and so needs a model with one input of float values. "
            "rq, dfq and aciq work for any.",
            field="method",
        )
    return space

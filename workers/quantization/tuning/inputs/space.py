"""The input space of a model with one float input: shape and value range of the inputs to synthesize."""

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
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.student.heads import find_heads


@dataclass(frozen=True)
class InputSpace:
    """Shape and value range of a model's inputs.

    Args:
        spec: The model's input.
        shape: Shape of one sample, without the batch axis.
        low: Value of a black pixel after preprocessing, by channel, [1, C, 1, 1]; None if inputs are no images.
        high: Value of a white pixel, likewise.
        fixed_batch: The batch size of the model's input, None if dynamic.
        model: The model, which noise for integer inputs depends on.
        preprocessing: How images become the input, if it takes images.
    """

    spec: TensorSpec
    shape: tuple[int, ...]
    low: Tensor | None
    high: Tensor | None
    fixed_batch: int | None
    model: onnx.ModelProto
    preprocessing: Preprocessing | None

    @property
    def images(self) -> bool:
        """Whether a sample is an image."""
        return self.low is not None

    def to(self, device: torch.device) -> InputSpace:
        """Return a copy with its bounds on a device."""
        if self.low is None or self.high is None:
            return self
        return InputSpace(
            self.spec,
            self.shape,
            self.low.to(device),
            self.high.to(device),
            self.fixed_batch,
            self.model,
            self.preprocessing,
        )

    def clamp(self, x: Tensor) -> Tensor:
        """Return ``x`` clamped to the pixel range; unchanged if inputs are no images."""
        if self.low is None or self.high is None:
            return x
        return torch.minimum(torch.maximum(x, self.low), self.high)

    def from_unit(self, x: Tensor) -> Tensor:
        """Return inputs from pixels scaled to [0, 1]; unchanged if inputs are no images."""
        if self.low is None or self.high is None:
            return x
        return self.low + x * (self.high - self.low)

    def noise(self, samples: int, seed: int) -> Tensor:
        """Return seeded noise, [samples, …]: images with a 1/f spectrum, or N(0, 1)."""
        free = self.spec.model_copy(update={"shape": ["samples", *self.spec.shape[1:]]})
        batches = noise_batches(self.model, [free], self.preprocessing, samples=samples, batch=samples, seed=seed)
        return torch.from_numpy(np.concatenate([np.asarray(batch[self.spec.name]) for batch in batches]))


def input_space(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None
) -> InputSpace | None:
    """Return the input space of a model; None unless it has a single float input with a batch axis and channels."""
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


def can_tune(prepared: PreparedNetwork) -> bool:
    """Whether a network can be tuned on synthesized inputs: it has a single float input and float outputs."""
    heads = find_heads(prepared.model, prepared.metadata)
    return bool(heads.tensors) and input_space(prepared.model, prepared.inputs, prepared.preprocessing) is not None


def require_input_space(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None
) -> InputSpace:
    """Return :func:`input_space`, or raise if there is none.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``.
    """
    space = input_space(model, inputs, preprocessing)
    if space is None:
        raise FaceterError(
            ProblemKind.METHOD_NOT_APPLICABLE,
            "This method synthesizes inputs by gradient descent and needs a model with a single float input. "
            "rq, dfq and aciq work for any model.",
            field="method",
        )
    return space

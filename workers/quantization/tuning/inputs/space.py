"""The input space of a model: shape and value range of the inputs to synthesize."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.models import TensorSpec
from faceter.contracts.preprocessing import Preprocessing
from workers.model_input import fixed_batch_size
from workers.quantization.noise import noise_batches, takes_images
from workers.quantization.packed_inputs import InputPacking, input_packing
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.student.heads import find_heads


@dataclass(frozen=True)
class InputSpace:
    """Shape and value range of a model's inputs, packed into one tensor.

    Args:
        packing: How the model's inputs become one tensor.
        shape: Shape of one packed sample, without the batch axis.
        low: Value of a black pixel after preprocessing, by channel, [1, C, 1, 1]; None if inputs are no images.
        high: Value of a white pixel, likewise.
        fixed_batch: The batch size of the model's inputs, None if dynamic.
        model: The model, which noise for integer inputs depends on.
        preprocessing: How images become the input, if it takes images.
    """

    packing: InputPacking
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

    @property
    def continuous(self) -> bool:
        """Whether every input holds floats, so that samples can be mixed and optimized by gradient."""
        return self.packing.is_float

    def to(self, device: torch.device) -> InputSpace:
        """Return a copy with its bounds on a device."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=self.low.to(device), high=self.high.to(device))

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
        """Return seeded noise, packed [samples, …]: images with a 1/f spectrum, N(0, 1), or random integers."""
        specs = list(self.packing.specs)
        if not self.packing.whole_runs:
            specs = [spec.model_copy(update={"shape": ["samples", *spec.shape[1:]]}) for spec in specs]
        batches = noise_batches(self.model, specs, self.preprocessing, samples=samples, batch=samples, seed=seed)
        return torch.from_numpy(np.concatenate([self.packing.pack(batch) for batch in batches]))


def input_space(
    model: onnx.ModelProto, inputs: Sequence[TensorSpec], preprocessing: Preprocessing | None
) -> InputSpace | None:
    """Return the input space of a model; None if an input holds text.

    Args:
        inputs: With concrete shapes apart from the batch axis.
    """
    if not inputs or any(spec.dtype in ("str", "object") for spec in inputs):
        return None
    packing = input_packing(inputs, preprocessing)
    low = high = None
    if preprocessing is not None and packing.is_single and takes_images(inputs[0], preprocessing):
        mean, std = (
            np.broadcast_to(np.asarray(values, np.float32), preprocessing.channels).reshape(1, -1, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        ends = [torch.from_numpy((np.float32(255 * preprocessing.scale * end) - mean) / std) for end in (0, 1)]
        low, high = ends
    fixed = fixed_batch_size(inputs)
    return InputSpace(packing, packing.sample_shape, low, high, fixed, model, preprocessing)


def can_tune(prepared: PreparedNetwork) -> bool:
    """Whether a network can be tuned without data: its inputs hold numbers, and it has outputs of floats."""
    heads = find_heads(prepared.model, prepared.metadata)
    return bool(heads.tensors) and input_space(prepared.model, prepared.inputs, prepared.preprocessing) is not None


def require_input_space(
    model: onnx.ModelProto,
    inputs: Sequence[TensorSpec],
    preprocessing: Preprocessing | None,
    *,
    continuous: bool = True,
) -> InputSpace:
    """Return :func:`input_space`, or raise if there is none.

    Args:
        continuous: Whether inputs must be floats, to be optimized by gradient.

    Raises:
        FaceterError: ``METHOD_NOT_APPLICABLE``.
    """
    space = input_space(model, inputs, preprocessing)
    if space is None:
        raise FaceterError(
            ProblemKind.METHOD_NOT_APPLICABLE,
            "This method generates inputs, and the model takes text. rq, dfq and aciq with a calibration dataset, and "
            "ft, work for any.",
            field="method",
        )
    if continuous and not space.continuous:
        raise FaceterError(
            ProblemKind.METHOD_NOT_APPLICABLE,
            "This method synthesizes inputs by gradient descent and needs a model whose inputs are floats. "
            "auto, rq, dfq and aciq work for any.",
            field="method",
        )
    return space

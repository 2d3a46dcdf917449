"""Observers: statistics of activation tensors, measured in forward passes of the float network."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.host import compute_device
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization.channel_shapes import ChannelShapes
from workers.quantization.statistics import StatisticsSource, TensorStatistics

_LAPLACE_RATIO = math.sqrt(2 * math.e / math.pi)
"""σ / b above which Laplace is likelier than a Gaussian; see clipping.better_fit."""


_MASKED = 1e8
"""Magnitude from which an activation is that of a mask."""


class _ChannelObserver:
    """Sums per channel over all batches; deviations are taken about the channel means of the first batch."""

    def __init__(self, axis: int) -> None:
        self.axis = axis
        self.low, self.high = math.inf, -math.inf
        self.count = 0
        self.centre = torch.zeros(0)
        self.sums: Tensor | None = None

    def update(self, x: Tensor) -> None:
        """Add one batch of the tensor."""
        channels = x.detach().movedim(self.axis, 0).flatten(1) if x.ndim > 1 else x.detach().reshape(1, -1)
        values = _without_masked(channels.double())
        if self.sums is None:
            self.centre = values.mean(1, keepdim=True)
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        centred, positive = values - self.centre, values.clamp_min(0)
        batch = torch.stack(
            [
                centred.sum(1),
                centred.square().sum(1),
                centred.abs().sum(1),
                (values > 0).sum(1).double(),
                positive.sum(1),
                positive.square().sum(1),
            ]
        )
        self.sums = batch if self.sums is None else self.sums + batch
        self.count += values.shape[1]

    def statistics(self, source: StatisticsSource) -> TensorStatistics:
        """Return the statistics of all batches."""
        if self.sums is None:
            raise ValueError("nothing was observed")
        offset, squares, absolute, mass, first, second = (self.sums / self.count).cpu().numpy()
        mean = self.centre[:, 0].cpu().numpy() + offset
        if self.low >= 0:
            share = np.maximum(mass, 1e-30)
            location, b, sigma = np.zeros_like(mean), first / share, np.sqrt(second / share)
        else:
            location, b, sigma = mean, absolute, np.sqrt(np.maximum(squares - offset**2, 0.0))
        shapes = ChannelShapes(
            location=location,
            absolute_deviation=b,
            deviation=sigma,
            laplace=sigma > _LAPLACE_RATIO * b,
            weight=2 * mass if self.low >= 0 else np.ones_like(mean),
            rounded=float(mass.mean()) if self.low >= 0 else 1.0,
        )
        return TensorStatistics(self.low, self.high, float(mean.mean()), shapes, mean, source)


def _without_masked(values: Tensor) -> Tensor:
    """Replace what a mask before a softmax or maximum puts in, such as −∞, by the mean of the others of its channel."""
    kept = values.abs() < _MASKED
    if kept.all():
        return values
    means = torch.where(kept, values, 0.0).sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1)
    return torch.where(kept, values, means)


@torch.inference_mode()
def observe(
    network: OnnxModule,
    batches: Sequence[Batch],
    channel_axes: Mapping[str, int],
    source: StatisticsSource,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, TensorStatistics]:
    """Measure activation tensors in forward passes of the float network.

    The range is the smallest and largest value. E|x − E x| is taken about the channel means of the first batch.

    Args:
        batches: Inputs by name, batch first.
        channel_axes: The channel axis of each tensor to measure.
        source: Origin of the batches.
        progress: Called with the fraction done after every batch.

    Raises:
        ValueError: If there are no batches.
    """
    if not batches:
        raise ValueError("no batches to observe")
    device = compute_device()
    network = network.to(device)
    observers = {name: _ChannelObserver(axis) for name, axis in channel_axes.items()}
    for index, batch in enumerate(batches):
        tensors = network(as_tensors(batch, device), watch=list(observers), outputs=[])
        for name, observer in observers.items():
            observer.update(tensors[name])
        progress((index + 1) / len(batches))
    return {name: observer.statistics(source) for name, observer in observers.items()}


@torch.inference_mode()
def channel_moments(
    network: OnnxModule,
    batches: Sequence[Batch],
    tensors: Collection[str],
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return mean and standard deviation, each [C], of the channels (axis 1) of tensors over all batches.

    Args:
        batches: Inputs by name, batch first.
        progress: Called with the fraction done after every batch.
    """
    device = compute_device()
    network = network.to(device)
    sums: dict[str, list[Tensor | float]] = {}
    for index, batch in enumerate(batches):
        values_by_name = network(as_tensors(batch, device), watch=list(tensors), outputs=[])
        for name in tensors:
            values = values_by_name[name].double().cpu()
            others = [i for i in range(values.ndim) if i != 1]
            count = values.numel() / values.shape[1]
            old = sums.get(name, [0.0, 0.0, 0.0])
            new = (values.sum(dim=others), values.square().sum(dim=others), count)
            sums[name] = [a + b for a, b in zip(old, new, strict=True)]
        progress((index + 1) / len(batches))
    moments = {}
    for name, (total, squares, count) in sums.items():
        mean = np.asarray(total / count)
        moments[name] = mean, np.sqrt(np.maximum(np.asarray(squares / count) - mean**2, 0.0))
    return moments


def as_array(values: Tensor) -> NDArray[np.float32]:
    """Return a float tensor on any device as a float32 array."""
    array: NDArray[np.float32] = values.float().cpu().contiguous().numpy()
    return array


def as_tensors(batch: Batch, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return a batch of arrays as tensors on a device."""
    return {name: torch.from_numpy(np.ascontiguousarray(values)).to(device) for name, values in batch.items()}

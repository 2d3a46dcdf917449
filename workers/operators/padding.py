"""Padding in all modes, and center crop."""

import torch
from torch import Tensor

from workers.operators.node import Node, TorchOperator
from workers.operators.windows import pad as pad_constant


def pad(node: Node, x: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
    """Pad with a constant, by reflection, with the edge or by wrapping round; negative sizes crop."""
    amounts = pads.tolist()
    chosen = [axis % x.ndim for axis in axes.tolist()] if axes is not None else list(range(x.ndim))
    begins, ends = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(chosen):
        begins[axis], ends[axis] = amounts[i], amounts[i + len(chosen)]
    mode = node.text("mode", "constant")
    if mode == "constant":
        return pad_constant(x, begins, ends, 0 if value is None else value.item())
    for axis in range(x.ndim):
        cut_before, cut_after = max(0, -begins[axis]), max(0, -ends[axis])
        x = x.narrow(axis, cut_before, x.shape[axis] - cut_before - cut_after)
        before, after = max(0, begins[axis]), max(0, ends[axis])
        if before or after:
            x = x.index_select(axis, _sources(mode, x.shape[axis], before, after, x.device))
    return x


def _sources(mode: str, size: int, before: int, after: int, device: torch.device) -> Tensor:
    positions = torch.arange(-before, size + after, device=device)
    if mode == "edge":
        return positions.clamp(0, size - 1)
    if mode == "wrap":
        return positions.remainder(size)
    if size == 1:
        return torch.zeros_like(positions)
    period = 2 * (size - 1)
    reflected = positions.remainder(period)
    return torch.where(reflected < size, reflected, period - reflected)


def center_crop_pad(node: Node, x: Tensor, shape: Tensor) -> Tensor:
    """Crop or zero-pad to a shape, symmetrically."""
    axes = node.integers("axes", tuple(range(x.ndim)))
    begins, ends = [0] * x.ndim, [0] * x.ndim
    for axis, size in zip(axes, shape.tolist(), strict=True):
        missing = size - x.shape[axis]
        begins[axis % x.ndim] = missing // 2 if missing > 0 else -(-missing // 2)
        ends[axis % x.ndim] = missing - begins[axis % x.ndim]
    return pad_constant(x, begins, ends)


OPERATORS = {
    "Pad": TorchOperator(pad, cpu_inputs=(1, 2, 3)),
    "CenterCropPad": TorchOperator(center_crop_pad, cpu_inputs=(1,)),
}

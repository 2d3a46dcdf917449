"""Sampling of images: GridSample, AffineGrid and RoiAlign."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from workers.operators.node import Node, TorchOperator

_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}


def grid_sample(node: Node, x: Tensor, grid: Tensor) -> Tensor:
    """Sample [N, C, *size] at coordinates from −1 to 1."""
    return functional.grid_sample(
        x,
        grid.to(x.dtype),
        mode=_MODES[node.text("mode", "linear")],
        padding_mode=node.text("padding_mode", "zeros"),
        align_corners=bool(node.integer("align_corners")),
    )


def affine_grid(node: Node, theta: Tensor, size: Tensor) -> Tensor:
    """Coordinates of an output of the given size under affine maps [N, rank, rank + 1]."""
    return functional.affine_grid(theta, size.tolist(), align_corners=bool(node.integer("align_corners")))


def roi_align(node: Node, x: Tensor, regions: Tensor, batch_indices: Tensor) -> Tensor:
    """Mean or maximum of bilinear samples in each cell of each region [left, top, right, bottom].

    Source: He et al. 2017, "Mask R-CNN".
    """
    half = node.text("coordinate_transformation_mode", "half_pixel") == "half_pixel" and node.opset >= 16
    scale = node.number("spatial_scale", 1.0)
    rows, columns = node.integer("output_height", 1), node.integer("output_width", 1)
    boxes = regions * scale - (0.5 if half else 0.0)
    pooled = []
    for box, image in zip(boxes, batch_indices.tolist(), strict=True):
        width, height = box[2] - box[0], box[3] - box[1]
        if not half:
            width, height = width.clamp(min=1.0), height.clamp(min=1.0)
        y, weight_y, step_y = _samples(node, box[1], height, rows, x.shape[2])
        z, weight_z, step_z = _samples(node, box[0], width, columns, x.shape[3])
        corners = x[image][:, y[:, None, :, None], z[None, :, None, :]]
        weighted = corners * (weight_y[:, None, :, None] * weight_z[None, :, None, :])
        channels = x.shape[1]
        cells = weighted.reshape(channels, 2, 2, rows, step_y, columns, step_z)
        if node.text("mode", "avg") == "avg":
            pooled.append(cells.sum((1, 2)).mean((2, 4)))
        else:
            pooled.append(cells.amax((1, 2, 4, 6)))
    if not pooled:
        return x.new_zeros(0, x.shape[1], rows, columns)
    return torch.stack(pooled)


def _samples(node: Node, start: Tensor, length: Tensor, cells: int, size: int) -> tuple[Tensor, Tensor, int]:
    """Return the lower and upper neighbours [2, cells · steps] of the samples along an axis, and their weights."""
    steps = node.integer("sampling_ratio") or max(1, math.ceil(float(length) / cells))
    count = cells * steps
    positions = start + (torch.arange(count, device=start.device) + 0.5) * (length / count)
    inside = (positions >= -1) & (positions <= size)
    positions = positions.clamp(0, size - 1)
    low = positions.floor()
    fraction = positions - low
    neighbours = torch.stack([low, (low + 1).clamp(max=size - 1)]).to(torch.int64)
    return neighbours, torch.stack([1 - fraction, fraction]) * inside, steps


OPERATORS = {
    "GridSample": TorchOperator(grid_sample),
    "AffineGrid": TorchOperator(affine_grid, cpu_inputs=(1,)),
    "RoiAlign": TorchOperator(roi_align),
}

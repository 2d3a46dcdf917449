"""Resize and Upsample in all modes of ONNX: a separable filter per axis."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.operators.node import Node, TorchOperator


@dataclass(frozen=True, slots=True)
class _AxisResize:
    """Resizing of one axis: ``before`` to ``after`` elements by ``scale``; crop from ``start`` to ``end`` (0 to 1)."""

    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class _ResizeSettings:
    """Settings that all axes share."""

    mode: str
    transformation: str
    nearest: str
    cubic: float
    exclude_outside: bool
    antialias: bool


def resize(
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    """Resample to other sizes, nearest, linear or cubic.

    Coordinates are computed in float32 as in ONNX Runtime, so that ties are rounded equally.
    """
    settings = _ResizeSettings(
        mode=node.text("mode", "nearest"),
        transformation=node.text("coordinate_transformation_mode", "half_pixel"),
        nearest=node.text("nearest_mode", "round_prefer_floor"),
        cubic=node.number("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.integer("exclude_outside")),
        antialias=bool(node.integer("antialias")),
    )
    axes = [axis % x.ndim for axis in node.integers("axes", tuple(range(x.ndim)))]
    resizes = _axis_resizes(
        node, x.shape, axes, roi, scales, sizes, crop=settings.transformation == "tf_crop_and_resize"
    )
    return _resampled(x, resizes, settings, node.number("extrapolation_value"))


def upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Resize with asymmetric coordinates (deprecated in opset 10)."""
    factors = scales.tolist() if scales is not None else node.numbers("scales")
    resizes = {axis: _scaled(x.shape[axis], factor) for axis, factor in enumerate(factors)}
    mode = "nearest" if node.text("mode", "nearest") == "nearest" else "linear"
    return _resampled(x, resizes, _ResizeSettings(mode, "asymmetric", "floor", -0.75, False, False), 0.0)


def _scaled(before: int, scale: float, start: float = 0.0, end: float = 1.0) -> _AxisResize:
    after = int(np.floor(np.float32(before) * np.float32(end - start) * np.float32(scale)))
    return _AxisResize(before, after, scale, start, end)


def _axis_resizes(
    node: Node,
    shape: torch.Size,
    axes: list[int],
    roi: Tensor | None,
    scales: Tensor | None,
    sizes: Tensor | None,
    *,
    crop: bool,
) -> dict[int, _AxisResize]:
    count = len(axes)
    corners = roi.tolist() if crop and roi is not None and roi.numel() else [0.0] * count + [1.0] * count
    crops = [(corners[i], corners[i + count]) for i in range(count)]
    if scales is not None and scales.numel():
        factors = scales.tolist()
        return {axis: _scaled(shape[axis], factors[i], *crops[i]) for i, axis in enumerate(axes)}
    if sizes is None:
        raise ValueError("a Resize needs scales or sizes")
    targets = sizes.tolist()
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return {
            axis: _AxisResize(shape[axis], targets[i], targets[i] / shape[axis], *crops[i])
            for i, axis in enumerate(axes)
        }
    choose = min if policy == "not_larger" else max
    scale = choose(size / shape[axis] for size, axis in zip(targets, axes, strict=True))
    return {
        axis: _AxisResize(shape[axis], int(np.floor(scale * shape[axis] + 0.5)), scale, *crops[i])
        for i, axis in enumerate(axes)
    }


def _resampled(
    x: Tensor, resizes: dict[int, _AxisResize], settings: _ResizeSettings, extrapolation_value: float
) -> Tensor:
    y = x if settings.mode == "nearest" or x.is_floating_point() else x.to(torch.float32)
    outside: list[tuple[int, Tensor]] = []
    for axis, resizing in resizes.items():
        if resizing.before == resizing.after and resizing.scale == 1 and (resizing.start, resizing.end) == (0, 1):
            continue
        positions = torch.from_numpy(_coordinates(resizing, settings.transformation)).to(x.device)
        if settings.mode == "nearest":
            indices = torch.from_numpy(_nearest(resizing, settings)).to(x.device)
            y = y.index_select(axis, indices)
        else:
            y = _weighted(y, axis, resizing, settings)
        if settings.transformation == "tf_crop_and_resize":
            outside.append((axis, (positions < 0) | (positions > resizing.before - 1)))
    for axis, mask in outside:
        y = y.masked_fill(mask.reshape(-1, *[1] * (y.ndim - 1 - axis)), extrapolation_value)
    return y.to(x.dtype)


def _weighted(x: Tensor, axis: int, resizing: _AxisResize, settings: _ResizeSettings) -> Tensor:
    indices, weights = _taps(resizing, settings)
    shape = (-1, *[1] * (x.ndim - 1 - axis))
    total: Tensor | None = None
    for tap in range(indices.shape[1]):
        if not weights[:, tap].any():
            continue
        weight = torch.from_numpy(weights[:, tap]).to(x.device, x.dtype).reshape(shape)
        term = x.index_select(axis, torch.from_numpy(indices[:, tap]).to(x.device)) * weight
        total = term if total is None else total + term
    return (
        x.index_select(axis, torch.zeros(resizing.after, dtype=torch.int64, device=x.device)) * 0
        if total is None
        else total
    )


@lru_cache(maxsize=256)
def _coordinates(resizing: _AxisResize, transformation: str) -> NDArray[np.float32]:
    """Return the coordinate of each output element in the input."""
    x = np.arange(resizing.after, dtype=np.float32)
    scale = np.float32(resizing.scale)
    last = np.float32(resizing.before - 1)
    half = np.float32(0.5)
    match transformation:
        case "align_corners":
            return x * np.float32(0) if resizing.after == 1 else x * last / np.float32(resizing.after - 1)
        case "asymmetric":
            return x / scale
        case "pytorch_half_pixel":
            return (x + half) / scale - half if resizing.after > 1 else np.zeros_like(x)
        case "tf_half_pixel_for_nn":
            return (x + half) / scale
        case "half_pixel_symmetric":
            adjustment = np.float32(resizing.after) / (scale * np.float32(resizing.before))
            offset = np.float32(resizing.before) / np.float32(2) * (np.float32(1) - adjustment)
            return offset + (x + half) / scale - half
        case "tf_crop_and_resize":
            start, end = np.float32(resizing.start), np.float32(resizing.end)
            if resizing.after == 1:
                return np.full_like(x, half * (start + end) * last)
            return start * last + x * (end - start) * last / np.float32(resizing.after - 1)
        case "half_pixel":
            return (x + half) / scale - half
        case _:
            raise ValueError(f"unknown coordinate_transformation_mode {transformation!r}")


@lru_cache(maxsize=256)
def _nearest(resizing: _AxisResize, settings: _ResizeSettings) -> NDArray[np.int64]:
    x = _coordinates(resizing, settings.transformation)
    match settings.nearest:
        case "floor":
            indices = np.floor(x)
        case "ceil":
            indices = np.ceil(x)
        case "round_prefer_floor":
            indices = np.ceil(x - np.float32(0.5))
        case "round_prefer_ceil":
            indices = np.floor(x + np.float32(0.5))
        case _:
            raise ValueError(f"unknown nearest_mode {settings.nearest!r}")
    return indices.clip(0, resizing.before - 1).astype(np.int64)


@lru_cache(maxsize=256)
def _taps(resizing: _AxisResize, settings: _ResizeSettings) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return indices [after, taps] and weights [after, taps] of a linear or cubic filter."""
    x = _coordinates(resizing, settings.transformation).astype(np.float64)
    base = np.floor(x)
    radius = 1.0 if settings.mode == "linear" else 2.0
    shrink = min(1.0, resizing.scale) if settings.antialias else 1.0
    first = int(np.floor(-radius / shrink)) + 1
    offsets = np.arange(first, 2 - first)
    distances = np.abs(offsets - (x - base)[:, None]) * shrink
    weights = np.maximum(0.0, 1.0 - distances) if settings.mode == "linear" else _cubic(distances, settings.cubic)
    indices = base[:, None] + offsets
    if settings.exclude_outside:
        weights = np.where((indices < 0) | (indices > resizing.before - 1), 0.0, weights)
    if settings.exclude_outside or settings.antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return indices.clip(0, resizing.before - 1).astype(np.int64), weights.astype(np.float32)


def _cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Keys' cubic kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


OPERATORS = {
    "Resize": TorchOperator(resize, cpu_inputs=(1, 2, 3)),
    "Upsample": TorchOperator(upsample, cpu_inputs=(1,)),
}

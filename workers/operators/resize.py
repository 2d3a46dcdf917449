"""Resize and Upsample: every axis by its own taps, in all modes ONNX has."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.operators.node import Node, Operator


@dataclass(frozen=True, slots=True)
class _Axis:
    """How one axis is resized: from ``before`` elements to ``after``, by ``scale``, within ``start`` to ``end``."""

    before: int
    after: int
    scale: float
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, slots=True)
class _Rule:
    """What is the same for all axes."""

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

    Coordinates are computed in float32, as ONNX Runtime does, so that ties fall alike.
    """
    rule = _Rule(
        mode=node.text("mode", "nearest"),
        transformation=node.text("coordinate_transformation_mode", "half_pixel"),
        nearest=node.text("nearest_mode", "round_prefer_floor"),
        cubic=node.number("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.integer("exclude_outside")),
        antialias=bool(node.integer("antialias")),
    )
    axes = [axis % x.ndim for axis in node.integers("axes", tuple(range(x.ndim)))]
    plan = _plan(node, x.shape, axes, roi, scales, sizes, crop=rule.transformation == "tf_crop_and_resize")
    return _resampled(x, plan, rule, node.number("extrapolation_value"))


def upsample(node: Node, x: Tensor, scales: Tensor | None = None) -> Tensor:
    """Resize by whole steps from the first element on (deprecated in opset 10)."""
    factors = scales.tolist() if scales is not None else node.numbers("scales")
    plan = {axis: _scaled(x.shape[axis], factor) for axis, factor in enumerate(factors)}
    mode = "nearest" if node.text("mode", "nearest") == "nearest" else "linear"
    return _resampled(x, plan, _Rule(mode, "asymmetric", "floor", -0.75, False, False), 0.0)


def _scaled(before: int, scale: float, start: float = 0.0, end: float = 1.0) -> _Axis:
    after = int(np.floor(np.float32(before) * np.float32(end - start) * np.float32(scale)))
    return _Axis(before, after, scale, start, end)


def _plan(
    node: Node,
    shape: torch.Size,
    axes: list[int],
    roi: Tensor | None,
    scales: Tensor | None,
    sizes: Tensor | None,
    *,
    crop: bool,
) -> dict[int, _Axis]:
    count = len(axes)
    corners = roi.tolist() if crop and roi is not None and roi.numel() else [0.0] * count + [1.0] * count
    parts = [(corners[i], corners[i + count]) for i in range(count)]
    if scales is not None and scales.numel():
        factors = scales.tolist()
        return {axis: _scaled(shape[axis], factors[i], *parts[i]) for i, axis in enumerate(axes)}
    if sizes is None:
        raise ValueError("a Resize needs scales or sizes")
    wanted = sizes.tolist()
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return {axis: _Axis(shape[axis], wanted[i], wanted[i] / shape[axis], *parts[i]) for i, axis in enumerate(axes)}
    choose = min if policy == "not_larger" else max
    scale = choose(size / shape[axis] for size, axis in zip(wanted, axes, strict=True))
    return {
        axis: _Axis(shape[axis], int(np.floor(scale * shape[axis] + 0.5)), scale, *parts[i])
        for i, axis in enumerate(axes)
    }


def _resampled(x: Tensor, plan: dict[int, _Axis], rule: _Rule, extrapolation_value: float) -> Tensor:
    y = x if rule.mode == "nearest" or x.is_floating_point() else x.to(torch.float32)
    outside: list[tuple[int, Tensor]] = []
    for axis, change in plan.items():
        if change.before == change.after and change.scale == 1 and (change.start, change.end) == (0, 1):
            continue
        positions = torch.from_numpy(_coordinates(change, rule.transformation)).to(x.device)
        if rule.mode == "nearest":
            places = torch.from_numpy(_nearest(change, rule)).to(x.device)
            y = y.index_select(axis, places)
        else:
            y = _weighted(y, axis, change, rule)
        if rule.transformation == "tf_crop_and_resize":
            outside.append((axis, (positions < 0) | (positions > change.before - 1)))
    for axis, mask in outside:
        y = y.masked_fill(mask.reshape(-1, *[1] * (y.ndim - 1 - axis)), extrapolation_value)
    return y.to(x.dtype)


def _weighted(x: Tensor, axis: int, change: _Axis, rule: _Rule) -> Tensor:
    places, weights = _taps(change, rule)
    shape = (-1, *[1] * (x.ndim - 1 - axis))
    total: Tensor | None = None
    for tap in range(places.shape[1]):
        if not weights[:, tap].any():
            continue
        weight = torch.from_numpy(weights[:, tap]).to(x.device, x.dtype).reshape(shape)
        term = x.index_select(axis, torch.from_numpy(places[:, tap]).to(x.device)) * weight
        total = term if total is None else total + term
    return (
        x.index_select(axis, torch.zeros(change.after, dtype=torch.int64, device=x.device)) * 0
        if total is None
        else total
    )


@lru_cache(maxsize=256)
def _coordinates(change: _Axis, transformation: str) -> NDArray[np.float32]:
    """Where each output element lies in the input, in its elements."""
    x = np.arange(change.after, dtype=np.float32)
    scale = np.float32(change.scale)
    last = np.float32(change.before - 1)
    half = np.float32(0.5)
    match transformation:
        case "align_corners":
            return x * np.float32(0) if change.after == 1 else x * last / np.float32(change.after - 1)
        case "asymmetric":
            return x / scale
        case "pytorch_half_pixel":
            return (x + half) / scale - half if change.after > 1 else np.zeros_like(x)
        case "tf_half_pixel_for_nn":
            return (x + half) / scale
        case "half_pixel_symmetric":
            adjustment = np.float32(change.after) / (scale * np.float32(change.before))
            offset = np.float32(change.before) / np.float32(2) * (np.float32(1) - adjustment)
            return offset + (x + half) / scale - half
        case "tf_crop_and_resize":
            start, end = np.float32(change.start), np.float32(change.end)
            if change.after == 1:
                return np.full_like(x, half * (start + end) * last)
            return start * last + x * (end - start) * last / np.float32(change.after - 1)
        case "half_pixel":
            return (x + half) / scale - half
        case _:
            raise ValueError(f"unknown coordinate_transformation_mode {transformation!r}")


@lru_cache(maxsize=256)
def _nearest(change: _Axis, rule: _Rule) -> NDArray[np.int64]:
    x = _coordinates(change, rule.transformation)
    match rule.nearest:
        case "floor":
            places = np.floor(x)
        case "ceil":
            places = np.ceil(x)
        case "round_prefer_floor":
            places = np.ceil(x - np.float32(0.5))
        case "round_prefer_ceil":
            places = np.floor(x + np.float32(0.5))
        case _:
            raise ValueError(f"unknown nearest_mode {rule.nearest!r}")
    return places.clip(0, change.before - 1).astype(np.int64)


@lru_cache(maxsize=256)
def _taps(change: _Axis, rule: _Rule) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return places [after, taps] and weights [after, taps] of a linear or cubic resampling."""
    x = _coordinates(change, rule.transformation).astype(np.float64)
    base = np.floor(x)
    reach = 1.0 if rule.mode == "linear" else 2.0
    shrink = min(1.0, change.scale) if rule.antialias else 1.0
    first = int(np.floor(-reach / shrink)) + 1
    offsets = np.arange(first, 2 - first)
    distances = np.abs(offsets - (x - base)[:, None]) * shrink
    weights = np.maximum(0.0, 1.0 - distances) if rule.mode == "linear" else _cubic(distances, rule.cubic)
    places = base[:, None] + offsets
    if rule.exclude_outside:
        weights = np.where((places < 0) | (places > change.before - 1), 0.0, weights)
    if rule.exclude_outside or rule.antialias:
        weights = weights / weights.sum(axis=1, keepdims=True)
    return places.clip(0, change.before - 1).astype(np.int64), weights.astype(np.float32)


def _cubic(distance: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Keys' cubic kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))


OPERATORS = {
    "Resize": Operator(resize, host=(1, 2, 3)),
    "Upsample": Operator(upsample, host=(1,)),
}

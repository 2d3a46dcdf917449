"""Sliding windows of convolution and pooling, for any number of spatial axes."""

from math import ceil

import numpy as np
import onnx

from faceter.graphs.view import Array, attribute


def windows(node: onnx.NodeProto, x: Array, kernel: tuple[int, ...], fill: int) -> Array:
    """Return the windows of a Conv or pooling node.

    Args:
        node: Its strides, dilations, pads, auto_pad and ceil_mode apply.
        x: Values [N, C, *space].
        kernel: Size of the kernel.
        fill: Padding value.

    Returns:
        A view [N, C, *positions, *kernel].
    """
    rank = len(kernel)
    strides = attribute(node, "strides", [1] * rank)
    dilations = attribute(node, "dilations", [1] * rank)
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    widths = _pads(node, x.shape[2:], spans, strides)
    padded = np.pad(x, [(0, 0), (0, 0), *widths], constant_values=fill)
    spatial = tuple(range(2, 2 + rank))
    windows_at = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=spatial)
    places = tuple(slice(None, None, stride) for stride in strides)
    taps = tuple(slice(None, None, dilation) for dilation in dilations)
    return windows_at[(slice(None), slice(None), *places, *taps)]


def _pads(node: onnx.NodeProto, space: tuple[int, ...], spans: list[int], strides: list[int]) -> list[tuple[int, int]]:
    rank = len(space)
    mode = attribute(node, "auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pads = []
        for size, extent, stride in zip(space, spans, strides, strict=True):
            total = max((ceil(size / stride) - 1) * stride + extent - size, 0)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if mode == "SAME_UPPER" else (more, less))
        return pads
    given = attribute(node, "pads", [0] * (2 * rank)) if mode == "NOTSET" else [0] * (2 * rank)
    pads = list(zip(given[:rank], given[rank:], strict=True))
    if attribute(node, "ceil_mode", 0):
        for axis, (before, after) in enumerate(pads):
            free = space[axis] + before + after - spans[axis]
            steps = ceil(free / strides[axis])
            if steps * strides[axis] >= space[axis] + before:
                steps -= 1
            pads[axis] = (before, after + max(steps * strides[axis] - free, 0))
    return pads

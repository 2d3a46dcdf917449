"""Convolutions of any rank: plain, grouped, depthwise, dilated, transposed, deformable."""

import torch
from torch import Tensor
from torch.nn import functional

from workers.operators.node import Node, TorchOperator
from workers.operators.windows import added_per_channel, of_rank, pad, window

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve [N, C, *size] with [M, C / group, *kernel]."""
    rank = x.ndim - 2
    at = window(node, x.shape[2:], weight.shape[2:])
    padding = at.begins if at.symmetric else (0,) * rank
    if not at.symmetric:
        x = pad(x, at.begins, at.ends)
    run = of_rank(node, _CONVOLUTIONS, rank)
    y: Tensor = run(x, weight, bias, at.strides, padding, at.dilations, node.integer("group", 1))
    return y


def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Transposed convolution of [N, C, *size] with [C, M / group, *kernel].

    Where ``output_shape`` is larger than the result, it is padded with zeros before the bias is added.
    """
    rank = x.ndim - 2
    strides = node.integers("strides", (1,) * rank)
    dilations = node.integers("dilations", (1,) * rank)
    extra = node.integers("output_padding", (0,) * rank)
    group = node.integer("group", 1)
    spans = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:], strict=True)]
    full = [s * (n - 1) + e + span for s, n, e, span in zip(strides, x.shape[2:], extra, spans, strict=True)]
    begins, ends = _transposed_pads(node, x.shape[2:], strides, full)
    run = of_rank(node, _TRANSPOSED, rank)
    if (
        begins == ends
        and min(begins) >= 0
        and all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
    ):
        plain: Tensor = run(x, weight, bias, strides, begins, extra, group, dilations)
        return plain
    y = run(x, weight, None, strides, 0, 0, group, dilations)
    return added_per_channel(pad(y, [-b for b in begins], [e - n for e, n in zip(extra, ends, strict=True)]), bias)


def _transposed_pads(
    node: Node, size: torch.Size, strides: tuple[int, ...], full: list[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rank = len(size)
    rule = node.text("auto_pad", "NOTSET")
    target = node.integers("output_shape")[-rank:]
    if not target:
        if rule in ("NOTSET", "VALID"):
            pads = node.integers("pads", (0,) * (2 * rank)) if rule == "NOTSET" else (0,) * (2 * rank)
            return pads[:rank], pads[rank:]
        target = tuple(n * s for n, s in zip(size, strides, strict=True))
    total = [f - w for f, w in zip(full, target, strict=True)]
    small = tuple(max(0, t) // 2 for t in total)
    large = tuple(t - s for t, s in zip(total, small, strict=True))
    if min(total) < 0:
        return tuple(max(0, n) for n in large), tuple(s if t >= 0 else t for s, t in zip(small, total, strict=True))
    return (small, large) if rule == "SAME_UPPER" else (large, small)


def deform_conv(
    node: Node, x: Tensor, weight: Tensor, offset: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Deformable convolution of [N, C, H, W]: every tap has its own offset; bilinear, zero outside.

    Source: Zhu et al. 2019, "Deformable ConvNets v2".
    """
    n, channels, height, width = x.shape
    out_channels, _, kernel_h, kernel_w = weight.shape
    taps = kernel_h * kernel_w
    at = window(node, x.shape[2:], weight.shape[2:])
    out_h, out_w = at.output
    groups, offset_groups = node.integer("group", 1), node.integer("offset_group", 1)
    offset = offset.reshape(n, offset_groups, taps, 2, out_h, out_w)
    base = [
        torch.arange(count, device=x.device) * stride - begin
        for count, stride, begin in zip(at.output, at.strides, at.begins, strict=True)
    ]
    tap = torch.arange(taps, device=x.device)
    tap_y, tap_x = tap // kernel_w * at.dilations[0], tap % kernel_w * at.dilations[1]
    y = offset[:, :, :, 0] + tap_y[:, None, None] + base[0][:, None]
    z = offset[:, :, :, 1] + tap_x[:, None, None] + base[1]
    grid = torch.stack([(2 * z + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    samples = functional.grid_sample(
        x.reshape(n * offset_groups, channels // offset_groups, height, width),
        grid.reshape(n * offset_groups, taps * out_h, out_w, 2).to(x.dtype),
        align_corners=False,
    ).reshape(n, offset_groups, channels // offset_groups, taps, out_h, out_w)
    if mask is not None:
        samples = samples * mask.reshape(n, offset_groups, 1, taps, out_h, out_w)
    columns = samples.reshape(n, groups, channels // groups * taps, out_h * out_w)
    kernels = weight.reshape(groups, out_channels // groups, channels // groups * taps)
    result = torch.einsum("gok,ngkp->ngop", kernels, columns).reshape(n, out_channels, out_h, out_w)
    return added_per_channel(result, bias)


def col2im(node: Node, x: Tensor, image_shape: Tensor, block_shape: Tensor) -> Tensor:
    """Sum blocks [N, C · prod(block), L] back into an image [N, C, *image_shape], of any rank."""
    size, block = tuple(image_shape.tolist()), tuple(block_shape.tolist())
    rank = len(size)
    at = window(node, size, block)
    padded = [n + b + e for n, b, e in zip(size, at.begins, at.ends, strict=True)]
    positions = torch.zeros((), dtype=torch.int64, device=x.device)
    for axis in range(rank):
        taps = torch.arange(block[axis], device=x.device) * at.dilations[axis]
        steps = torch.arange(at.output[axis], device=x.device) * at.strides[axis]
        along = taps.reshape(-1, *[1] * (rank - 1 - axis), *[1] * axis, 1, *[1] * (rank - 1 - axis))
        along = along + steps.reshape(-1, *[1] * (rank - 1 - axis))
        positions = positions.unsqueeze(axis) * padded[axis] if positions.ndim else positions
        positions = positions + along
    count = x.shape[1] // int(torch.tensor(block).prod())
    source = x.reshape(x.shape[0], count, -1)
    image = x.new_zeros(x.shape[0], count, int(torch.tensor(padded).prod()))
    image = image.index_add(2, positions.reshape(-1), source).reshape(x.shape[0], count, *padded)
    return pad(image, [-b for b in at.begins], [-e for e in at.ends])


OPERATORS = {
    "Conv": TorchOperator(conv),
    "ConvTranspose": TorchOperator(conv_transpose),
    "DeformConv": TorchOperator(deform_conv),
    "Col2Im": TorchOperator(col2im, cpu_inputs=(1, 2)),
}

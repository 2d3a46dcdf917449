"""Normalizations: over the batch, a sample, a group, a layer, neighbouring channels."""

import torch
from torch import Tensor
from torch.nn import functional

from workers.operators.arithmetic import root
from workers.operators.node import Node, TorchOperator
from workers.operators.tensors import torch_dtype
from workers.operators.windows import pad


def batch_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, ...]:
    """Normalize each channel by its running statistics, or by the batch's in ``training_mode``.

    Training mode also returns the updated statistics: running · momentum + batch · (1 − momentum).
    """
    epsilon = node.number("epsilon", 1e-5)
    if not node.integer("training_mode"):
        return (functional.batch_norm(x, mean, variance, scale, bias, eps=epsilon),)
    momentum = node.number("momentum", 0.9)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    batch_variance, batch_mean = torch.var_mean(x, dim=axes, correction=0)
    y = functional.batch_norm(x, batch_mean, batch_variance, scale, bias, eps=epsilon)
    return (
        y,
        (mean * momentum + batch_mean * (1 - momentum)).to(mean.dtype),
        (variance * momentum + batch_variance * (1 - momentum)).to(variance.dtype),
    )


def instance_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Normalize each channel of each sample over its spatial axes."""
    axes = list(range(2, x.ndim))
    variance, mean = torch.var_mean(x, dim=axes, correction=0, keepdim=True)
    shape = (-1, *[1] * len(axes))
    y = (x - mean) * torch.rsqrt(variance + node.number("epsilon", 1e-5))
    return y * scale.reshape(shape) + bias.reshape(shape)


def group_normalization(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Normalize groups of channels; scale and bias are per group in opset 18, per channel from opset 21."""
    groups = node.integer("num_groups")
    if len(scale) != x.shape[1]:
        scale, bias = (t.repeat_interleave(x.shape[1] // groups) for t in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, node.number("epsilon", 1e-5))


def layer_normalization(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Normalize over the axes from ``axis`` on; also returns the mean and 1/σ if they are used."""
    axis = node.integer("axis", -1) % x.ndim
    epsilon = node.number("epsilon", 1e-5)
    shape = x.shape[axis:]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        y = functional.layer_norm(x, list(shape), scale, bias, epsilon)
    else:
        y = functional.layer_norm(x, list(shape), eps=epsilon) * scale
        y = y if bias is None else y + bias
    if not (node.uses_output(1) or node.uses_output(2)):
        return y, None, None
    wide = x.to(torch_dtype(node.integer("stash_type", 1)))
    variance, mean = torch.var_mean(wide, dim=list(range(axis, x.ndim)), correction=0, keepdim=True)
    return y, mean, torch.rsqrt(variance + epsilon)


def rms_normalization(node: Node, x: Tensor, scale: Tensor) -> Tensor:
    """Divide by the root mean square over the axes from ``axis`` on, then scale."""
    axis = node.integer("axis", -1) % x.ndim
    mean_square = x.square().mean(dim=list(range(axis, x.ndim)), keepdim=True)
    return x * torch.rsqrt(mean_square + node.number("epsilon", 1e-5)) * scale


def lp_normalization(node: Node, x: Tensor) -> Tensor:
    """Divide by the Lp norm along an axis; zero where the norm is zero."""
    norm = torch.linalg.vector_norm(x, node.integer("p", 2), dim=node.integer("axis", -1), keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


def mean_variance_normalization(node: Node, x: Tensor) -> Tensor:
    """Normalize over the given axes, by default batch and space, with 1e-9 added to σ."""
    axes = node.integers("axes", (0, 2, 3))
    mean = x.mean(dim=axes, keepdim=True)
    deviation = root((x * x).mean(dim=axes, keepdim=True) - mean * mean)
    return (x - mean) / (deviation + 1e-9)


def lrn(node: Node, x: Tensor) -> Tensor:
    """Local response normalization: x / (bias + alpha / size · Σ x² over neighbouring channels)^beta."""
    size = node.integer("size")
    before = (size - 1) // 2
    squares = pad(x.square().flatten(2).transpose(1, 2), [before], [size - 1 - before])
    total = squares.unfold(2, size, 1).sum(-1).transpose(1, 2).reshape(x.shape)
    base = node.number("bias", 1.0) + node.number("alpha", 1e-4) / size * total
    return x / base.pow(node.number("beta", 0.75))


OPERATORS = {
    "BatchNormalization": TorchOperator(batch_normalization, non_trainable=(3, 4)),
    "InstanceNormalization": TorchOperator(instance_normalization),
    "GroupNormalization": TorchOperator(group_normalization),
    "LayerNormalization": TorchOperator(layer_normalization),
    "RMSNormalization": TorchOperator(rms_normalization),
    "LpNormalization": TorchOperator(lp_normalization),
    "MeanVarianceNormalization": TorchOperator(mean_variance_normalization),
    "LRN": TorchOperator(lrn),
}

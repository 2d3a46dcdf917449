"""High-bias absorption of DFQ: the constant part of a channel before ReLU moves into the next layer's bias.

References:
    Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, arXiv 1906.04721, section 4.1.3.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from faceter.graphs.batch_norm_folding import BatchNormStatistics
from faceter.graphs.equalization_pairs import EqualizationPair, LayerWeights, find_pairs
from faceter.graphs.view import GraphView, attribute, node_name
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization.equalization import ChannelStatistics, Equalized
from workers.quantization.observation import as_tensors

Array = NDArray[np.float64]

_OFFSET_PRESERVING = frozenset({"Relu", "Min", "MaxPool", "GlobalAveragePool", "Flatten"})
"""Operators that commute with an offset; ReLU does for values above it, and a Min if its bound is moved too."""
_LARGEST_SHARE_OF_BOUND = 0.5
"""No more than this part of a channel's upper bound is absorbed."""


def absorb_high_biases(
    model: onnx.ModelProto,
    statistics: ChannelStatistics,
    *,
    deviations: float = 3.0,
    through_padding: bool = False,
    skip: Collection[str] = (),
) -> Equalized:
    """Move the constant part of a channel before ReLU into the bias of the next layer (section 4.1.3).

    Where c = β − 3γ > 0, ReLU(x) = ReLU(x − c) + c for all but 0.13 % of x, so that b₁ ← b₁ − c and b₂ ← b₂ + W₂ c.

    Args:
        model: Canonical float model with BatchNorm folded; it is not changed.
        statistics: β and γ of the tensors before activation functions.
        deviations: Distance of c from β, in γ.
        through_padding: Whether to absorb into layers with zero padding, where W₂ c is wrong at the borders: padding
            is 0 before and after. The paper does not mention it; on FastestDet it costs 5 points of box agreement.
        skip: Tensors before activation functions that nothing is absorbed from.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    nodes = {node_name(node): node for node in changed.graph.node}
    moved = dict(statistics)
    absorbed = 0
    for pair, offset in absorbable(model, statistics, deviations=deviations, through_padding=through_padding):
        weight = view.constant(pair.second.weight)
        if weight is None or pair.first.output in skip:
            continue
        known = moved[pair.first.output]
        _add_to_bias(view, nodes[pair.first.name], pair.first, -offset)
        _add_to_bias(view, nodes[pair.second.name], pair.second, _response(pair.second, weight, offset))
        for name in pair.bounds:
            bound = np.asarray(view.constant(name))
            view.replace_initializer(name, (bound - offset.reshape(bound.shape)).astype(np.float32))
        moved[pair.first.output] = BatchNormStatistics(np.asarray(known.beta - offset, np.float32), known.gamma)
        absorbed += 1
    return Equalized(changed, moved, absorbed)


def absorbable(
    model: onnx.ModelProto, statistics: ChannelStatistics, *, deviations: float = 3.0, through_padding: bool = False
) -> list[tuple[EqualizationPair, Array]]:
    """Return the pairs of layers that can absorb a high bias, and c of each channel, [C]; see `absorb_high_biases`."""
    view = GraphView(model)
    nodes = {node_name(node): node for node in model.graph.node}
    found = []
    for pair in find_pairs(model):
        known = statistics.get(pair.first.output)
        between = [nodes[name] for name in pair.between]
        if known is None or pair.activation != "Relu" or not {n.op_type for n in between} <= _OFFSET_PRESERVING:
            continue
        if pair.first.bias is None or not (through_padding or _unpadded(nodes[pair.second.name])):
            continue
        offset = np.maximum(0.0, known.beta.astype(np.float64) - deviations * known.gamma)
        for name in pair.bounds:
            offset = np.minimum(offset, _LARGEST_SHARE_OF_BOUND * np.asarray(view.constant(name)).reshape(-1))
        if offset.any() and pair.second.operator in ("Conv", "Gemm"):
            found.append((pair, offset))
    return found


@torch.inference_mode()
def absorption_errors(
    network: OnnxModule, batches: Sequence[Batch], absorbed: Sequence[tuple[EqualizationPair, Array]]
) -> dict[str, float]:
    """Return what absorption changes on data: the relative squared error of ReLU(x − c) + c for ReLU(x).

    Args:
        network: The float network.
        batches: Inputs by name.
        absorbed: What `absorbable` returns.

    Returns:
        The error by the tensor x, before the activation function.
    """
    names = [pair.first.output for pair, _ in absorbed]
    sums = {name: np.zeros(2) for name in names}
    for batch in batches if names else ():
        seen = network(as_tensors(batch), watch=names, outputs=[])
        for pair, offset in absorbed:
            x = seen[pair.first.output]
            c = torch.from_numpy(offset.astype(np.float32)).reshape(-1, *[1] * (x.ndim - 2))
            expected = x.relu()
            error = torch.maximum(x, c) - expected
            sums[pair.first.output] += [float(error.double().square().sum()), float(expected.double().square().sum())]
    return {name: float(error / power) if power > 0 else 0.0 for name, (error, power) in sums.items()}


def _response(layer: LayerWeights, weight: NDArray[np.floating], offset: Array) -> Array:
    """Return W c summed over the kernel positions, [outputs]."""
    scaled = layer.scale_inputs(weight.astype(np.float64), offset)
    return np.asarray(layer.by_output(scaled).sum(axis=1))


def _unpadded(node: onnx.NodeProto) -> bool:
    return not any(attribute(node, "pads", [])) and attribute(node, "auto_pad", "NOTSET") in ("NOTSET", "VALID")


def _add_to_bias(view: GraphView, node: onnx.NodeProto, layer: LayerWeights, offset: Array) -> None:
    if layer.bias is not None:
        old = view.constant(layer.bias)
        view.replace_initializer(layer.bias, np.asarray(np.asarray(old, np.float64) + offset, np.float32))
        return
    del node.input[2:]
    node.input.append(view.add_initializer(f"{layer.weight}.absorbed", offset.astype(np.float32)))

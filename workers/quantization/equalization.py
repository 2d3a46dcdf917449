"""Cross-layer range equalization and high-bias absorption of DFQ.

Two layers with a positively homogeneous function between them (ReLU, PReLU, none) compute the same if a channel is
divided by a positive factor in the first and multiplied by it in the second. DFQ chooses the factors that make the
channels' ranges equal, so that one scale per tensor fits all of them.

References:
    Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, arXiv 1906.04721, sections 4.1.1 to 4.1.3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.graphs.batch_norm_folding import BatchNormStatistics
from faceter.graphs.equalization_pairs import EqualizationPair, LayerWeights, find_pairs
from faceter.graphs.view import GraphView, attribute, node_name

Array = NDArray[np.float64]
ChannelStatistics = Mapping[str, BatchNormStatistics]

_OFFSET_PRESERVING = frozenset({"Relu", "MaxPool", "GlobalAveragePool", "Flatten"})
"""Operators that commute with an offset; ReLU does for values above it."""


@dataclass(frozen=True)
class Equalized:
    """A network after equalization or absorption.

    Args:
        model: The changed model.
        statistics: β and γ of the tensors before activation functions, changed likewise.
        pairs: Number of pairs of layers that were changed.
        rounds: Number of rounds over all pairs until convergence.
    """

    model: onnx.ModelProto
    statistics: dict[str, BatchNormStatistics]
    pairs: int
    rounds: int = 1


def equalize(
    model: onnx.ModelProto, statistics: ChannelStatistics, *, rounds: int = 40, tolerance: float = 1e-3
) -> Equalized:
    """Equalize channel ranges across pairs of layers; the function of the network does not change (section 4.1.2).

    For channel i with range r₁ in the first layer's weights and r₂ in the second's, s = √(r₁ r₂) / r₂; W₁ and b₁ are
    divided by s and W₂ is multiplied by it, pair after pair, until |ln s| < ``tolerance`` for all.

    Args:
        model: Canonical float model with BatchNorm folded; it is not changed.
        statistics: β and γ of the tensors before activation functions.
        rounds: Most rounds over all pairs.
    """
    pairs = find_pairs(model)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    weights = _float64(view, pairs)
    moved = dict(statistics)
    done = 0
    while pairs and done < rounds:
        done += 1
        furthest = 0.0
        for pair in pairs:
            s = equalization_scales(pair, weights)
            _rescale(pair, weights, s)
            if pair.first.output in moved:
                old = moved[pair.first.output]
                moved[pair.first.output] = BatchNormStatistics(old.beta / s, old.gamma / s)
            furthest = max(furthest, float(np.abs(np.log(s)).max()))
        if furthest < tolerance:
            break
    _store(view, weights)
    return Equalized(changed, moved, len(pairs), done)


def equalization_scales(pair: EqualizationPair, weights: Mapping[str, Array]) -> Array:
    """Return s = √(r₁ r₂) / r₂ of every channel, [C]; 1 for channels with only zeros on either side."""
    first = np.abs(pair.first.by_output(weights[pair.first.weight])).max(axis=1)
    second = np.abs(pair.second.by_input(weights[pair.second.weight])).max(axis=1)
    live = (first > 0) & (second > 0)
    return np.where(live, np.sqrt(np.where(live, first, 1.0) / np.where(live, second, 1.0)), 1.0)


def absorb_high_biases(
    model: onnx.ModelProto, statistics: ChannelStatistics, *, deviations: float = 3.0, through_padding: bool = False
) -> Equalized:
    """Move the constant part of a channel before ReLU into the bias of the next layer (section 4.1.3).

    Where c = β − 3γ > 0, ReLU(x) = ReLU(x − c) + c for all but 0.13 % of x, so that b₁ ← b₁ − c and b₂ ← b₂ + W₂ c.

    Args:
        model: Canonical float model with BatchNorm folded; it is not changed.
        statistics: β and γ of the tensors before activation functions.
        deviations: Distance of c from β, in γ.
        through_padding: Whether to absorb into layers with zero padding, where W₂ c is wrong at the borders: padding
            is 0 before and after. The paper does not mention it; on FastestDet it costs 5 points of box agreement.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    view = GraphView(changed)
    nodes = {node_name(node): node for node in changed.graph.node}
    moved = dict(statistics)
    absorbed = 0
    for pair in find_pairs(model):
        known = moved.get(pair.first.output)
        between = [nodes[name] for name in pair.between]
        if known is None or pair.activation != "Relu" or not {n.op_type for n in between} <= _OFFSET_PRESERVING:
            continue
        if pair.first.bias is None or not (through_padding or _unpadded(nodes[pair.second.name])):
            continue
        offset = np.maximum(0.0, known.beta.astype(np.float64) - deviations * known.gamma)
        weight = view.constant(pair.second.weight)
        if weight is None or not offset.any() or pair.second.operator not in ("Conv", "Gemm"):
            continue
        _add_to_bias(view, nodes[pair.first.name], pair.first, -offset)
        _add_to_bias(view, nodes[pair.second.name], pair.second, _response(pair.second, weight, offset))
        moved[pair.first.output] = BatchNormStatistics(np.asarray(known.beta - offset, np.float32), known.gamma)
        absorbed += 1
    return Equalized(changed, moved, absorbed)


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


def _float64(view: GraphView, pairs: Sequence[EqualizationPair]) -> dict[str, Array]:
    names = {name for pair in pairs for layer in (pair.first, pair.second) for name in (layer.weight, layer.bias)}
    values = {name: view.constant(name) for name in sorted(name for name in names if name is not None)}
    return {name: value.astype(np.float64) for name, value in values.items() if value is not None}


def _rescale(pair: EqualizationPair, weights: dict[str, Array], s: Array) -> None:
    first, second = pair.first, pair.second
    weights[first.weight] = first.scale_outputs(weights[first.weight], 1 / s)
    weights[second.weight] = second.scale_inputs(weights[second.weight], s)
    if first.bias is not None:
        weights[first.bias] = weights[first.bias] / s


def _store(view: GraphView, weights: Mapping[str, Array]) -> None:
    for name, value in weights.items():
        view.replace_initializer(name, value.astype(np.float32))

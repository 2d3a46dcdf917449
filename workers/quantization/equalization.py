"""Cross-layer range equalization of DFQ.

Two layers with a positively homogeneous function between them (ReLU, PReLU, none) compute the same if a channel is
divided by a positive factor in the first and multiplied by it in the second. A clip at 6 between them becomes one at
6 / s in each channel. DFQ chooses the factors that make the
channels' ranges equal, so that one scale per tensor fits all of them.

References:
    Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, arXiv 1906.04721, sections 4.1.1 and 4.1.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from faceter.graphs.batch_norm_folding import BatchNormStatistics
from faceter.graphs.equalization_pairs import EqualizationPair, clips_by_channel, find_pairs
from faceter.graphs.view import GraphView
from workers.quantization.equalization_cost import ChannelActivity, EqualizationCost

Array = NDArray[np.float64]
ChannelStatistics = Mapping[str, BatchNormStatistics]

_POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CLEARLY_LESS = 0.98


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
    model: onnx.ModelProto,
    statistics: ChannelStatistics,
    *,
    rounds: int = 40,
    tolerance: float = 1e-3,
    cost: EqualizationCost | None = None,
) -> Equalized:
    """Equalize channel ranges across pairs of layers; the function of the network does not change (section 4.1.2).

    For channel i with range r₁ in the first layer's weights and r₂ in the second's, s = √(r₁ r₂) / r₂; W₁ and b₁ are
    divided by s and W₂ is multiplied by it, pair after pair, until |ln s| < ``tolerance`` for all. ReLU6 becomes ReLU
    and a Min with one bound per channel, which is divided by s too.

    Args:
        model: Canonical float model with BatchNorm folded; it is not changed.
        statistics: β and γ of the tensors before activation functions.
        rounds: Most rounds over all pairs.
        cost: Expected error of a pair. If given, of the powers s⁰ … s¹ that of least error is taken; else s.
    """
    changed = clips_by_channel(model)
    pairs = find_pairs(changed)
    view = GraphView(changed)
    weights = _float64(view, pairs)
    moved = dict(statistics)
    inputs = {} if cost is None else dict(cost.inputs)
    touched: set[str] = set()
    done = 0
    while pairs and done < rounds:
        done += 1
        furthest = 0.0
        for pair in pairs:
            s = equalization_scales(pair, weights)
            if cost is not None and cost.knows(pair):
                s = _best_power(cost, pair, weights, inputs, s)
                inputs[pair.second.name] = inputs[pair.second.name].divided(s)
            size = float(np.abs(np.log(s)).max())
            if size == 0.0:
                continue
            touched.add(pair.first.name)
            _rescale(pair, weights, s)
            if pair.first.output in moved:
                old = moved[pair.first.output]
                moved[pair.first.output] = BatchNormStatistics(old.beta / s, old.gamma / s)
            furthest = max(furthest, size)
        if furthest < tolerance:
            break
    equalized = clips_by_channel(model, touched)
    _store(GraphView(equalized), weights)
    return Equalized(equalized, moved, len(touched), done)


def _best_power(
    cost: EqualizationCost,
    pair: EqualizationPair,
    weights: Mapping[str, Array],
    inputs: Mapping[str, ChannelActivity],
    s: Array,
) -> Array:
    """Return the power of s of least expected error; ones unless another is clearly better."""
    candidates = [s**power for power in _POWERS]
    errors = [cost.error(pair, weights, inputs, candidate) for candidate in candidates]
    best = int(np.argmin(errors))
    return candidates[best] if errors[best] < _CLEARLY_LESS * errors[0] else candidates[0]


def equalization_scales(pair: EqualizationPair, weights: Mapping[str, Array]) -> Array:
    """Return s = √(r₁ r₂) / r₂ of every channel, [C]; 1 for channels with only zeros on either side."""
    first = np.abs(pair.first.by_output(weights[pair.first.weight])).max(axis=1)
    second = np.abs(pair.second.by_input(weights[pair.second.weight])).max(axis=1)
    live = (first > 0) & (second > 0)
    return np.where(live, np.sqrt(np.where(live, first, 1.0) / np.where(live, second, 1.0)), 1.0)


def _float64(view: GraphView, pairs: Sequence[EqualizationPair]) -> dict[str, Array]:
    names = {name for pair in pairs for layer in (pair.first, pair.second) for name in (layer.weight, layer.bias)}
    names |= {name for pair in pairs for name in pair.bounds}
    values = {name: view.constant(name) for name in sorted(name for name in names if name is not None)}
    return {name: value.astype(np.float64) for name, value in values.items() if value is not None}


def _rescale(pair: EqualizationPair, weights: dict[str, Array], s: Array) -> None:
    first, second = pair.first, pair.second
    weights[first.weight] = first.scale_outputs(weights[first.weight], 1 / s)
    weights[second.weight] = second.scale_inputs(weights[second.weight], s)
    if first.bias is not None:
        weights[first.bias] = weights[first.bias] / s
    for name in pair.bounds:
        weights[name] = weights[name] / s.reshape(weights[name].shape)


def _store(view: GraphView, weights: Mapping[str, Array]) -> None:
    for name, value in weights.items():
        if view.is_initializer(name):
            view.replace_initializer(name, value.astype(np.float32))

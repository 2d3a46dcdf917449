"""The expected rounding error of a pair of layers, by which equalization decides how far to go.

Equal ranges of weights are bought with unequal ranges of activations, which one scale per tensor then rounds coarsely.
To the output of the second layer three errors contribute, each of S²/12 per rounded value:

- the first layer's weights: S₁² Σ E[x₀²] per channel, times ‖W₂‖² of that channel;
- the activation between them: S² with S from the largest channel, times ‖W₂‖²;
- the second layer's weights: S₂² Σ E[x²].

Dividing a channel by s and multiplying it by s in the second layer changes them as the scales change.

References:
    Meller, Finkelstein, Almog, Grobman, "Same, Same But Different: Recovering Neural Network Quantization Error Through
    Weight Factorization", ICML 2019, arXiv 1902.01917 (scales of weights and activations are bound to each other).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from faceter.contracts.quantizations import Granularity, QuantizationRequest
from faceter.graphs.equalization_pairs import EqualizationPair, LayerWeights, clips_by_channel, find_pairs
from faceter.graphs.view import GraphView, node_name
from workers.model_input import Batch
from workers.onnx_module import OnnxModule
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.observation import as_tensors
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.propagation import propagate

Array = NDArray[np.float64]

_SAMPLES = 16
_DEVIATIONS = 6.0


@dataclass(frozen=True)
class ChannelActivity:
    """What is known of the channels of an activation.

    Args:
        largest: Largest magnitude of each channel, [C].
        square: E[x²] of each channel, [C].
    """

    largest: Array
    square: Array

    def divided(self, s: Array) -> ChannelActivity:
        """Return the activity of channels divided by s, [C]."""
        return ChannelActivity(self.largest / s, self.square / np.square(s))


@dataclass(frozen=True)
class EqualizationCost:
    """The expected error of pairs of layers at given bits.

    Args:
        inputs: Activity of each layer's input, by the layer's name.
    """

    inputs: Mapping[str, ChannelActivity]
    weight_bits: int
    activation_bits: int
    granularity: Granularity

    def knows(self, pair: EqualizationPair) -> bool:
        """Whether the inputs of both layers are known."""
        return pair.first.name in self.inputs and pair.second.name in self.inputs

    def error(
        self, pair: EqualizationPair, weights: Mapping[str, Array], inputs: Mapping[str, ChannelActivity], s: Array
    ) -> float:
        """Return twelve times the expected squared error of the second layer's output, after scaling by s, [C].

        Args:
            weights: Weights of all layers as they are now.
            inputs: Activity of all layers' inputs as it is now.
        """
        first = pair.first.scale_outputs(weights[pair.first.weight], 1 / s)
        second = pair.second.scale_inputs(weights[pair.second.weight], s)
        between = inputs[pair.second.name].divided(s)
        power = np.square(pair.second.by_input(second)).sum(axis=1)
        activation_step = between.largest.max() / 2.0**self.activation_bits
        noise = self._weight_noise(pair.first, first, inputs[pair.first.name].square)
        return float(
            (noise * power).sum()
            + np.square(activation_step) * power.sum()
            + self._weight_noise(pair.second, second, between.square).sum()
        )

    def _weight_noise(self, layer: LayerWeights, weight: Array, square: Array) -> Array:
        """Return S² Σ E[x²] of each output channel, [outputs]."""
        largest = np.abs(layer.by_output(weight)).max(axis=1)
        if self.granularity is Granularity.TENSOR:
            largest = np.full_like(largest, largest.max())
        taps = layer.by_output(layer.scale_inputs(np.ones_like(weight), square)).sum(axis=1)
        return np.asarray(np.square(largest / 2.0 ** (self.weight_bits - 1)) * taps)


def equalization_cost(prepared: PreparedNetwork, request: QuantizationRequest) -> EqualizationCost:
    """Return the cost of a network's pairs: activity from BatchNorm's statistics, else measured on batches."""
    view = GraphView(prepared.model)
    nodes = {node_name(node): node for node in view.graph.node}
    layers = {
        layer.name for pair in find_pairs(clips_by_channel(prepared.model)) for layer in (pair.first, pair.second)
    }
    sources = {name: nodes[name].input[0] for name in sorted(layers)}
    activity: dict[str, ChannelActivity] = {}
    if not prepared.calibrated:
        given = {name: ClampedGaussian.normal(item.beta, item.gamma) for name, item in prepared.statistics.items()}
        known = propagate(prepared.model, given)
        activity = {name: _of_distribution(known[name]) for name in set(sources.values()) & known.keys()}
    missing = {name: nodes[layer].op_type for layer, name in sources.items() if name not in activity}
    activity |= _measured(prepared, missing)
    return EqualizationCost(
        {layer: activity[name] for layer, name in sources.items()},
        request.weight_bits,
        request.activation_bits,
        request.weight_granularity,
    )


def few_samples(prepared: PreparedNetwork) -> list[Batch]:
    """Return the first inputs of a network's batches: at most 16, or one batch if the model fixes its size."""
    fixed = any(spec.shape and isinstance(spec.shape[0], int) for spec in prepared.inputs)
    batches = list(prepared.batches[:1])
    return batches if fixed else [{name: values[:_SAMPLES] for name, values in batch.items()} for batch in batches]


def _of_distribution(channels: ClampedGaussian) -> ChannelActivity:
    ends = channels.bounds(_DEVIATIONS)
    square = channels.variance() + np.square(channels.expectation())
    return ChannelActivity(np.maximum(*(np.abs(end) for end in ends)), square)


@torch.inference_mode()
def _measured(prepared: PreparedNetwork, operators: Mapping[str, str]) -> dict[str, ChannelActivity]:
    """Measure tensors on batches.

    Args:
        operators: The operator that reads each tensor; a MatMul's channels are on the last axis, others' on axis 1.
    """
    found: dict[str, ChannelActivity] = {}
    if not operators:
        return found
    network = OnnxModule(prepared.model)
    batches = few_samples(prepared)
    for batch in batches:
        seen = network(as_tensors(batch), watch=list(operators), outputs=[])
        for name, operator in operators.items():
            channels = seen[name].movedim(-1 if operator == "MatMul" else 1, 0).flatten(1).double()
            largest, square = channels.abs().amax(1).numpy(), channels.square().mean(1).numpy()
            old = found.get(name)
            if old is not None:
                largest, square = np.maximum(largest, old.largest), square + old.square
            found[name] = ChannelActivity(largest, square)
    return {name: ChannelActivity(item.largest, item.square / len(batches)) for name, item in found.items()}

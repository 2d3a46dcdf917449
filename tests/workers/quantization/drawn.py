"""Small networks drawn by Hypothesis: badly scaled channels, dead ones, outliers, all the layers methods care for."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import onnx
from hypothesis import strategies as st

from faceter.graphs.view import Array
from tests.graphs.builders import GraphBuilder, run
from tests.workers.quantization.networks import Floats, prepared_for
from workers.quantization.noise import noise_images
from workers.quantization.prepare import PreparedNetwork

Flaw = Literal["none", "dead", "constant", "outlier", "positive"]


@dataclass(frozen=True)
class DrawnNetwork:
    """What a network is made of.

    Args:
        seed: Seed of weights and BatchNorm statistics.
        width: Channels of the hidden layers.
        spread: Channels' weights are multiplied by up to e^±spread.
        relu: Upper bound of the activation function; None for ReLU, 0 for no activation function.
        batch_norm: Whether convolutions are followed by BatchNormalization.
        depthwise: Whether there is a depthwise layer.
        residual: Whether there is a residual addition.
        flaw: What is wrong with the first channel of every weight.
        laplace: Whether weights are Laplace and not Gaussian.
    """

    seed: int
    width: int
    spread: float
    relu: float | None
    batch_norm: bool
    depthwise: bool
    residual: bool
    flaw: Flaw
    laplace: bool

    def build(self) -> onnx.ModelProto:
        """Return the network: images ``image`` [batch, 3, 8, 8] to ``logits`` [batch, 5]."""
        net = GraphBuilder(["batch", 3, 8, 8], name="image", seed=self.seed)
        self._layer(net, self.width, 3, 3)
        trunk = net.last
        if self.depthwise:
            self._layer(net, self.width, self.width, 3, group=self.width)
        self._layer(net, self.width, self.width, 1)
        if self.residual:
            net.add("Add", net.last, trunk)
            net.add("Relu")
        self._layer(net, self.width + 1, self.width, 3, strides=[2, 2])
        net.add("GlobalAveragePool")
        net.add("Flatten", net.last)
        classifier = net.constant(self._weights(net.rng, 5, self.width + 1))
        net.add("Gemm", net.last, classifier, net.weight(5), output="logits", transB=1)
        return net.build()

    def _layer(self, net: GraphBuilder, outputs: int, inputs: int, kernel: int, **attributes: Any) -> None:
        group = attributes.get("group", 1)
        weight = net.constant(self._weights(net.rng, outputs, inputs // group, kernel, kernel))
        net.add("Conv", net.last, weight, net.weight(outputs), pads=[kernel // 2] * 4, **attributes)
        if self.batch_norm:
            self._normalize(net)
        if self.relu is None:
            net.add("Relu")
        elif self.relu > 0:
            net.add("Clip", net.last, *(net.constant(np.array(end, np.float32)) for end in (0, self.relu)))

    def _normalize(self, net: GraphBuilder) -> None:
        """Add a BatchNormalization whose statistics are those of what it normalizes, as after training."""
        noise = noise_images(64, 3, 8, 8, np.random.default_rng(self.seed))
        [seen] = run(net.build(), image=(noise / 255 - 0.5) / 0.25)
        mean, variance = seen.mean(axis=(0, 2, 3)), seen.var(axis=(0, 2, 3))
        gamma, beta = net.rng.uniform(0.5, 2, mean.size), net.rng.normal(size=mean.size)
        values = (gamma, beta, mean, variance + 1e-3)
        net.add("BatchNormalization", net.last, *(net.constant(value.astype(np.float32)) for value in values))

    def _weights(self, rng: np.random.Generator, *shape: int) -> Array:
        values = rng.laplace(size=shape) if self.laplace else rng.normal(size=shape)
        values /= np.sqrt(np.prod(shape[1:]))
        values *= np.exp(self.spread * rng.uniform(-1, 1, (shape[0], *[1] * (len(shape) - 1))))
        match self.flaw:
            case "dead":
                values[0] = 0
            case "constant":
                values[0] = 0.25
            case "outlier":
                values[0].reshape(-1)[0] = 20 * np.abs(values).max()
            case "positive":
                values[0] = np.abs(values[0])
        return values.astype(np.float32)


drawn_networks = st.builds(
    DrawnNetwork,
    seed=st.integers(0, 2**16),
    width=st.integers(3, 8),
    spread=st.sampled_from([0.0, 1.0, 3.0]),
    relu=st.sampled_from([None, 6.0, 0.0]),
    batch_norm=st.booleans(),
    depthwise=st.booleans(),
    residual=st.booleans(),
    flaw=st.sampled_from(["none", "dead", "constant", "outlier", "positive"]),
    laplace=st.booleans(),
)
"""Networks of all these kinds."""

wide_networks = st.builds(
    DrawnNetwork,
    seed=st.integers(0, 2**16),
    width=st.integers(16, 24),
    spread=st.sampled_from([0.0, 1.0]),
    relu=st.sampled_from([None, 0.0]),
    batch_norm=st.just(True),
    depthwise=st.booleans(),
    residual=st.booleans(),
    flaw=st.just("none"),
    laplace=st.booleans(),
)
"""Networks whose weights and activations are as bell-shaped as those of trained ones."""


@cache
def prepared(network: DrawnNetwork) -> PreparedNetwork:
    """Return a drawn network ready for the methods."""
    return prepared_for(network.build(), network.seed)


def images(count: int, seed: int) -> Floats:
    """Return inputs for a drawn network, [count, 3, 8, 8]."""
    return np.random.default_rng(seed).normal(0, 1, (count, 3, 8, 8)).astype(np.float32)

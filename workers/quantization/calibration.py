"""Statistics of all activations of a network, from the best source there is.

1. Calibration data, where the user gives some: everything is measured in forward passes.
2. BatchNorm's β and γ: a channel is N(β, γ²) where a BatchNorm was folded, and its distribution is carried in closed
form
   through activation functions, additions, pooling and joins (see propagation.py). Ranges are β ± 6γ through the
   activation function.
3. Forward passes on seeded noise shaped like the input, for tensors that neither reaches.

What an image's preprocessing or a sigmoid says about a range holds in every case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from faceter.graphs.qdq import Quantizer, Sites
from faceter.graphs.view import GraphView
from workers.network import OnnxModule
from workers.quantization.affine import activation_quantizer
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.noise import pixel_range, takes_images
from workers.quantization.observation import observe
from workers.quantization.prepared import Prepared
from workers.quantization.propagation import propagate
from workers.quantization.statistics import Array, Source, TensorStatistics, from_distribution

_KNOWN_RANGES = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class Statistics:
    """Statistics of every activation that a quantizer or a bias correction asks for, by tensor."""

    tensors: Mapping[str, TensorStatistics]

    def __getitem__(self, tensor: str) -> TensorStatistics:
        return self.tensors[tensor]

    def notes(self) -> list[str]:
        """Say where the statistics come from."""
        counts = Counter(item.source for item in self.tensors.values())
        words = {
            Source.KNOWN: "the preprocessing or the operator",
            Source.BATCH_NORM: "BatchNorm statistics (β ± 6γ through the activation function)",
            Source.CALIBRATION: "the calibration data",
            Source.NOISE: "forward passes on seeded noise, no BatchNorm statistics reaching them",
        }
        parts = [f"{counts[source]} from {words[source]}" for source in Source if counts[source]]
        return [f"Activation ranges of {len(self.tensors)} tensors: {'; '.join(parts)}."]


def activation_statistics(prepared: Prepared, sites: Sites, *, deviations: float = 6.0) -> Statistics:
    """Return statistics of the tensors that are quantized and of those that layers take.

    Args:
        prepared: The network.
        sites: What is to be quantized in it.
        deviations: How many deviations a range from BatchNorm reaches to each side.
    """
    view = GraphView(prepared.model)
    wanted = {name for site in sites.activations for name in site.tensors}
    wanted |= {node.input[0] for node in prepared.model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    wanted = {name for name in wanted if view.constant(name) is None}
    found: dict[str, TensorStatistics] = {}
    if not prepared.calibrated:
        sources = {name: ClampedGaussian.normal(item.beta, item.gamma) for name, item in prepared.statistics.items()}
        carried = propagate(prepared.model, sources)
        found = {
            name: from_distribution(carried[name], deviations=deviations) for name in sorted(wanted & carried.keys())
        }
    rest = sorted(wanted - found.keys())
    if rest:
        axes = {name: channel_axis(view, name) for name in rest}
        found |= observe(OnnxModule(prepared.model), prepared.batches, axes, prepared.source, prepared.progress)
    return Statistics({name: _with_known_range(prepared, view, name, item) for name, item in found.items()})


def channel_axis(view: GraphView, tensor: str) -> int:
    """Return the axis of a tensor that holds channels: the last one if a matrix product takes it, else 1."""
    products = any(node.op_type in ("MatMul", "Gemm") for node in view.consumers.get(tensor, []))
    return -1 if products else 1


def min_max_quantizers(sites: Sites, statistics: Statistics, activation_bits: int) -> dict[str, Quantizer]:
    """Return a quantizer for every activation site that covers the ranges of all its tensors."""
    return {
        site.name: activation_quantizer(
            min(statistics[name].low for name in site.tensors),
            max(statistics[name].high for name in site.tensors),
            site.bits(activation_bits),
        )
        for site in sites.activations
    }


def _with_known_range(prepared: Prepared, view: GraphView, name: str, item: TensorStatistics) -> TensorStatistics:
    for spec in prepared.inputs:
        if spec.name == name and prepared.preprocessing is not None and takes_images(spec, prepared.preprocessing):
            low, high = pixel_range(prepared.preprocessing)
            return TensorStatistics(**{**vars(item), "low": low, "high": high, "source": Source.KNOWN})
    producer = view.producer.get(name)
    known = None if producer is None else _KNOWN_RANGES.get(producer.op_type)
    if known is None or prepared.calibrated:
        return item
    return TensorStatistics(**{**vars(item), "low": known[0], "high": known[1], "source": Source.KNOWN})


def input_channel_means(statistics: Statistics, tensor: str, channels: int) -> Array | None:
    """Return E[x] of each of a layer's input channels, [channels]; None where it is not known per channel."""
    means = statistics[tensor].channel_mean
    return means if means.size == channels else None

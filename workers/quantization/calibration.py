"""Statistics of all activations of a network, from the best available source.

1. With calibration data: all are measured in forward passes.
2. Else from BatchNorm's β and γ: channels after a folded BatchNorm are N(β, γ²), and their distributions are propagated
   in closed form (see propagation.py). Ranges are β ± 6γ, through the activation function.
3. Tensors that these do not reach are measured on seeded noise shaped like the input.

Ranges known from image preprocessing or an operator such as a sigmoid take precedence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from faceter.graphs.quantization_sites import QuantizationSites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView
from workers.onnx_module import OnnxModule
from workers.quantization.affine import activation_quantizer
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.noise import pixel_range, takes_images
from workers.quantization.observation import observe
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.propagation import propagate
from workers.quantization.statistics import Array, StatisticsSource, TensorStatistics, from_distribution

_KNOWN_RANGES = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0)}


@dataclass(frozen=True)
class ActivationStatistics:
    """Statistics of every activation that a quantizer or a bias correction needs, by tensor."""

    tensors: Mapping[str, TensorStatistics]

    def __getitem__(self, tensor: str) -> TensorStatistics:
        return self.tensors[tensor]

    def warnings(self) -> list[str]:
        """Return a sentence with the number of tensors by source of their statistics."""
        counts = Counter(item.source for item in self.tensors.values())
        descriptions = {
            StatisticsSource.KNOWN: "the preprocessing or the operator",
            StatisticsSource.BATCH_NORM: "BatchNorm statistics (β ± 6γ through the activation function)",
            StatisticsSource.CALIBRATION: "the calibration data",
            StatisticsSource.NOISE: "forward passes on seeded noise, since no BatchNorm statistics reach them",
        }
        clauses = [f"{counts[source]} from {descriptions[source]}" for source in StatisticsSource if counts[source]]
        return [f"Activation ranges of {len(self.tensors)} tensors: {'; '.join(clauses)}."]


def activation_statistics(
    prepared: PreparedNetwork, sites: QuantizationSites, *, deviations: float = 6.0
) -> ActivationStatistics:
    """Return statistics of the quantized tensors and of the inputs of all layers.

    Args:
        deviations: Half-width of a range from BatchNorm, in standard deviations γ.
    """
    view = GraphView(prepared.model)
    needed = {name for site in sites.activations for name in site.tensors}
    needed |= {node.input[0] for node in prepared.model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")}
    needed = {name for name in needed if view.constant(name) is None}
    statistics: dict[str, TensorStatistics] = {}
    if not prepared.calibrated:
        sources = {name: ClampedGaussian.normal(item.beta, item.gamma) for name, item in prepared.statistics.items()}
        distributions = propagate(prepared.model, sources)
        statistics = {
            name: from_distribution(distributions[name], deviations=deviations)
            for name in sorted(needed & distributions.keys())
        }
    unknown = sorted(needed - statistics.keys())
    if unknown:
        axes = {name: channel_axis(view, name) for name in unknown}
        statistics |= observe(OnnxModule(prepared.model), prepared.batches, axes, prepared.source, prepared.progress)
    return ActivationStatistics(
        {name: _with_known_range(prepared, view, name, item) for name, item in statistics.items()}
    )


def channel_axis(view: GraphView, tensor: str) -> int:
    """Return the channel axis of a tensor: the last one if a matrix product takes it, else 1."""
    products = any(node.op_type in ("MatMul", "Gemm") for node in view.consumers.get(tensor, []))
    return -1 if products else 1


def min_max_quantizers(
    sites: QuantizationSites, statistics: ActivationStatistics, activation_bits: int
) -> dict[str, Quantizer]:
    """Return a quantizer for every activation site that covers the ranges of all its tensors."""
    return {
        site.name: activation_quantizer(
            min(statistics[name].low for name in site.tensors),
            max(statistics[name].high for name in site.tensors),
            site.bits(activation_bits),
        )
        for site in sites.activations
    }


def _with_known_range(
    prepared: PreparedNetwork, view: GraphView, name: str, item: TensorStatistics
) -> TensorStatistics:
    for spec in prepared.inputs:
        if spec.name == name and prepared.preprocessing is not None and takes_images(spec, prepared.preprocessing):
            low, high = pixel_range(prepared.preprocessing)
            return TensorStatistics(**{**vars(item), "low": low, "high": high, "source": StatisticsSource.KNOWN})
    producer = view.producer.get(name)
    known = None if producer is None else _KNOWN_RANGES.get(producer.op_type)
    if known is None or prepared.calibrated:
        return item
    return TensorStatistics(**{**vars(item), "low": known[0], "high": known[1], "source": StatisticsSource.KNOWN})


def input_channel_means(statistics: ActivationStatistics, tensor: str, channels: int) -> Array | None:
    """Return E[x] of each of a layer's input channels, [channels]; None if it is not known per channel."""
    means = statistics[tensor].channel_mean
    return means if means.size == channels else None

"""Statistics of all activations of a network, from the best available source.

1. With calibration data: all are measured in forward passes.
2. Else from BatchNorm's β and γ: channels after a folded BatchNorm are N(β, γ²), and their distributions are propagated
   in closed form (see propagation.py). Ranges are β ± 6γ, through the activation function.
3. Tensors that these do not reach are measured on seeded noise shaped like the input.

Ranges known from image preprocessing or an operator such as a sigmoid take precedence over noise (see known_ranges.py),
and no range is wider than what the tensor's readers tell apart (see reader_ranges.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from faceter.graphs.quantization_sites import QuantizationSites
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView
from workers.onnx_module import OnnxModule
from workers.quantization.affine import activation_quantizer
from workers.quantization.gaussian import ClampedGaussian
from workers.quantization.known_ranges import KnownRange, known_ranges
from workers.quantization.noise import pixel_range, takes_images
from workers.quantization.observation import observe
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.propagation import propagate
from workers.quantization.reader_ranges import range_for_readers
from workers.quantization.statistics import Array, StatisticsSource, TensorStatistics, from_distribution

_MAX_WIDENING = 4.0
"""A range that need not be attained replaces one measured on noise if it is at most this many times as wide."""


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
            StatisticsSource.KNOWN: "the preprocessing or the operators",
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
    pixels = _pixel_ranges(prepared)
    known = known_ranges(prepared.model, pixels)
    known = {name: item for name, item in known.items() if name in pixels or not prepared.calibrated}
    return ActivationStatistics(
        {
            name: _within(_with_known_range(item, known.get(name), is_input=name in pixels), view, name)
            for name, item in statistics.items()
        }
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


def _pixel_ranges(prepared: PreparedNetwork) -> dict[str, KnownRange]:
    """Return the range of each input that preprocessing makes from an image."""
    preprocessing = prepared.preprocessing
    if preprocessing is None:
        return {}
    pixels = KnownRange(*pixel_range(preprocessing), attained=True)
    return {spec.name: pixels for spec in prepared.inputs if takes_images(spec, preprocessing)}


def _with_known_range(item: TensorStatistics, known: KnownRange | None, *, is_input: bool) -> TensorStatistics:
    """Return statistics with a known range, where it says more than they do."""
    if known is None:
        return item
    width = known.high - known.low
    plausible = known.attained or width <= _MAX_WIDENING * (item.high - item.low)
    if is_input or (item.source is StatisticsSource.NOISE and plausible):
        return replace(item, low=known.low, high=known.high, source=StatisticsSource.KNOWN)
    return item


def _within(item: TensorStatistics, view: GraphView, name: str) -> TensorStatistics:
    """Return statistics with a range no wider than what the tensor's readers tell apart."""
    limit = range_for_readers(view, name)
    if limit is None:
        return item
    low, high = max(item.low, limit.low), min(item.high, limit.high)
    return replace(item, low=low, high=high) if low < high else item


def input_channel_means(statistics: ActivationStatistics, tensor: str, channels: int) -> Array | None:
    """Return E[x] of each of a layer's input channels, [channels]; None if it is not known per channel."""
    means = statistics[tensor].channel_mean
    return means if means.size == channels else None

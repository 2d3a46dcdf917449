"""Sensitivity Ω of a network to quantizing one weight alone, as in ZeroQ.

For a classifier, Ω_i(k) = mean over inputs of KL(P(x) ‖ P with weight i at k bits (x)). For any other network (a
detector, a regression, a segmentation) it is the relative squared error of the outputs, ‖ŷ − y‖² / ‖y‖² over all
inputs, averaged over the network's float outputs (those that are all 0 left out), so that boxes in pixels do not
dominate scores below 1.

All other weights and all activations stay float. Effects of small changes add up, so the sum of Ω over the weights
estimates the divergence with all of them quantized.

References:
    Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv 2001.00281, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faceter.graphs.describe import input_specs
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.quantization_sites import ActivationSite
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView, node_name
from workers.host import compute_device
from workers.onnx_module import OnnxModule, Replacement
from workers.quantization.aciq import clipped_activation
from workers.quantization.affine import fake_quantize
from workers.quantization.calibration import channel_axis
from workers.quantization.mixed.bit_allocation import weight_quantizer
from workers.quantization.mixed.divergence import ClassDivergence, OutputDivergence
from workers.quantization.mixed.isotonic import isotonic_regression
from workers.quantization.observation import observe
from workers.quantization.statistics import StatisticsSource, TensorStatistics

ALL_BITS = tuple(range(2, 9))
MAX_SAMPLES = 256
MAX_BATCH = 64

Inputs = Mapping[str, NDArray[Any] | Tensor]
"""A batch: arrays or tensors by input name, batch first."""

_Case = tuple[str, int]
"""A weight, or all of them, and its bits."""
_ALL_WEIGHTS = ""
_TINY = 1e-12


@dataclass(frozen=True)
class Sensitivities:
    """Sensitivity of a network to quantizing its weights.

    Args:
        divergence: Ω by weight and bits, with that weight alone quantized.
        agreement: Agreement with the float network in the same runs: fraction of equal first classes, or for other
            networks 1 − √Ω, not below 0.
        together: Agreement by bits, with all weights at these bits and the activations quantized too: as in the plan,
            or at the same bits if they were measured with the weights.
        samples: Number of inputs.
    """

    divergence: Mapping[str, Mapping[int, float]]
    agreement: Mapping[str, Mapping[int, float]]
    together: Mapping[int, float]
    samples: int

    def total(self, bits: Mapping[str, int]) -> float:
        """Return Σ Ω of an allocation of bits to weights."""
        return math.fsum(self.divergence[name][count] for name, count in bits.items())

    def predict(self, total: float) -> float:
        """Return the agreement predicted, before any tuning, for a network with this Σ Ω.

        It is interpolated between the networks whose weights all have the same bits: linear in log Σ Ω, never growing
        with it, constant beyond the ends.
        """
        logarithms, agreements = self._uniform_points
        return float(np.interp(math.log(max(total, _TINY)), logarithms, agreements))

    @cached_property
    def _uniform_points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        totals = {k: self.total(dict.fromkeys(self.divergence, k)) for k in self.together}
        order = sorted(self.together, key=totals.__getitem__)
        agreements = -isotonic_regression(-np.array([self.together[k] for k in order], np.float64))
        return np.log(np.maximum([totals[k] for k in order], _TINY)), agreements


@torch.inference_mode()
def measure_sensitivities(
    plan: QuantizationPlan,
    batches: Sequence[Inputs],
    *,
    classes: str | None,
    bits: Collection[int] = ALL_BITS,
    with_inputs: bool = False,
    max_samples: int = MAX_SAMPLES,
    progress: Callable[[float], None] = lambda _: None,
) -> Sensitivities:
    """Measure Ω of every weight of a plan at every number of bits.

    It takes one pass over ``max_samples`` inputs, 64 at a time, for each weight and number of bits, and one for each
    number of bits with everything quantized.

    Args:
        plan: The network, the granularity of its weights, and its activations' quantizers; the weights' own bits do
            not matter.
        classes: Name of the output of class scores, logits or probabilities; None for another network.
        bits: Each 2 to 8.
        with_inputs: Whether the activation that enters a weight's layer is quantized with it, at the same bits and
            clipped analytically. Other readers of that activation, such as a residual addition, see it quantized too.
        progress: Called with the fraction done.

    Raises:
        ValueError: If there are no batches or no bits.
        FaceterError: ``INFERENCE_FAILED`` if the outputs cannot be compared.
    """
    chosen = list(_limited(plan, batches, max_samples))
    if not chosen or not bits:
        raise ValueError("nothing to measure: no batches, or no bits")
    device = compute_device()
    network = OnnxModule(plan.model).to(device)
    cases = _cases(plan, network, chosen, sorted(set(bits)), with_inputs=with_inputs)
    measured = ClassDivergence(classes) if classes is not None else OutputDivergence(network.outputs)
    done = 0
    for batch in chosen:
        inputs = {name: torch.as_tensor(values).to(device) for name, values in batch.items()}
        measured.start_batch(network(inputs, outputs=measured.outputs))
        for case, replace in cases.items():
            measured.add(case, network(inputs, outputs=measured.outputs, replace=replace))
            done += 1
            progress(done / (len(chosen) * len(cases)))
    divergence: dict[str, dict[int, float]] = {}
    agreement: dict[str, dict[int, float]] = {}
    for name, count in cases:
        omega, agreed = measured.result((name, count))
        divergence.setdefault(name, {})[count] = omega
        agreement.setdefault(name, {})[count] = agreed
    divergence.pop(_ALL_WEIGHTS)
    together = agreement.pop(_ALL_WEIGHTS)
    samples = sum(len(next(iter(batch.values()))) for batch in chosen)
    return Sensitivities(divergence, agreement, together, samples)


def _limited(plan: QuantizationPlan, batches: Sequence[Inputs], max_samples: int) -> Iterator[Inputs]:
    """Yield batches up to a number of samples, cut to 64 unless the model fixes its batch size."""
    fixed = any(spec.shape and isinstance(spec.shape[0], int) for spec in input_specs(plan.model))
    left = max_samples
    for batch in batches:
        size = len(next(iter(batch.values())))
        step = size if fixed else MAX_BATCH
        for start in range(0, size, step):
            if left <= 0:
                return
            end = size if fixed else min(start + min(step, left), size)
            left -= end - start
            yield {name: values[start:end] for name, values in batch.items()}


def _cases(
    plan: QuantizationPlan, network: OnnxModule, batches: Sequence[Inputs], bits: Sequence[int], *, with_inputs: bool
) -> dict[_Case, dict[str, Replacement]]:
    """Return what is quantized in each case: one weight at some bits, or all weights and activations."""
    view = GraphView(plan.model)
    cases: dict[_Case, dict[str, Replacement]] = {
        (site.name, count): {site.name: _fake(weight_quantizer(plan, view, site.name, count))}
        for site in plan.sites.weights
        if site.name in plan.weights
        for count in bits
    }
    if with_inputs:
        _add_inputs(cases, plan, view, network, batches)
    activations = {
        name: _fake(quantizer) for name, quantizer in plan.replacements().items() if name not in plan.weights
    }
    for count in bits:
        alone = [replace for (_, k), replace in cases.items() if k == count]
        cases[_ALL_WEIGHTS, count] = activations | {name: fake for replace in alone for name, fake in replace.items()}
    return cases


def _fake(quantizer: Quantizer) -> Replacement:
    return partial(fake_quantize, quantizer=quantizer)


def _add_inputs(
    cases: Mapping[_Case, dict[str, Replacement]],
    plan: QuantizationPlan,
    view: GraphView,
    network: OnnxModule,
    batches: Sequence[Inputs],
) -> None:
    """Quantize with each weight the activations that enter its layers, at the same bits."""
    entering = {site.name: _entering(plan, view, site.layers, site.name) for site in plan.sites.weights}
    tensors = dict.fromkeys(name for sites in entering.values() for site in sites for name in site.tensors)
    axes = {name: channel_axis(view, name) for name in tensors}
    arrays = [{name: np.asarray(torch.as_tensor(x).cpu()) for name, x in batch.items()} for batch in batches]
    statistics: dict[str, TensorStatistics] = observe(network, arrays, axes, StatisticsSource.CALIBRATION)
    for (name, count), replace in cases.items():
        for site in entering[name]:
            quantizer = clipped_activation([statistics[tensor] for tensor in site.tensors], count)
            replace.update({tensor: _fake(quantizer) for tensor in site.tensors})


def _entering(plan: QuantizationPlan, view: GraphView, layers: Collection[str], weight: str) -> list[ActivationSite]:
    """Return the activations that enter the layers of a weight."""
    names = [
        name
        for node in plan.model.graph.node
        if node_name(node) in layers
        for name in list(node.input)[:2]
        if name != weight and view.constant(name) is None
    ]
    sites = {site.name: site for name in names if (site := plan.sites.activation(name)) is not None}
    return list(sites.values())

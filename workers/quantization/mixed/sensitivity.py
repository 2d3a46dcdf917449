"""How much a network's answers suffer when one weight alone is quantized: ZeroQ's sensitivity Ω.

For a classifier, Ω_i(k) = mean over inputs of KL(P(x) ‖ P with weight i at k bits (x)). For any other network (a
detector, a regression, a segmentation) it is the relative squared error of the outputs, ‖ŷ − y‖² / ‖y‖² over all
inputs, averaged over the network's float outputs (those that are all 0 left out), so that boxes in pixels do not drown
scores below 1.

All other weights and all activations stay float. Effects of small changes add up, so that the sum of Ω over the weights
of a network stands for what it loses with all of them quantized.

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

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.graphs.describe import input_specs
from faceter.graphs.qdq import ActivationSite, QuantizationPlan
from faceter.graphs.quantizer import Quantizer
from faceter.graphs.view import GraphView, node_name
from workers.host import compute_device
from workers.network import OnnxModule, Replacement
from workers.quantization.aciq import clipped_activation
from workers.quantization.affine import fake_quantize
from workers.quantization.calibration import channel_axis
from workers.quantization.mixed.assignment import weight_quantizer
from workers.quantization.mixed.divergence import ClassReference, OutputsReference
from workers.quantization.observation import observe
from workers.quantization.statistics import Source, TensorStatistics

ALL_BITS = tuple(range(2, 9))
MOST_SAMPLES = 256
MOST_AT_ONCE = 64

Inputs = Mapping[str, NDArray[Any] | Tensor]
"""A batch: arrays or tensors by input name, batch first."""

_Case = tuple[str, int]
_TOGETHER = ""
_TINY = 1e-12


@dataclass(frozen=True)
class Sensitivities:
    """What quantizing weights does to a network's answers.

    Args:
        divergence: Ω by weight and bits: with that weight alone quantized.
        agreement: Agreement with the float network in the same runs: share of equal first classes, or for other
            networks 1 − √Ω, not below 0.
        together: Agreement by bits with all weights quantized at these, and the activations too: as the plan has
            them, or at the same bits where they were measured with the weights.
        samples: On how many inputs it was measured.
    """

    divergence: Mapping[str, Mapping[int, float]]
    agreement: Mapping[str, Mapping[int, float]]
    together: Mapping[int, float]
    samples: int

    def total(self, bits: Mapping[str, int]) -> float:
        """Return Σ Ω of an assignment of bits to weights."""
        return math.fsum(self.divergence[name][count] for name, count in bits.items())

    def predict(self, total: float) -> float:
        """Return the agreement to expect, before any tuning, of a network whose Ω sum to ``total``.

        What Σ Ω means is read off the networks whose weights all have the same bits: between them, agreement is taken
        to be linear in log Σ Ω and never to grow with it; beyond them it is that of the nearest.
        """
        logarithms, agreements = self._scale
        return float(np.interp(math.log(max(total, _TINY)), logarithms, agreements))

    @cached_property
    def _scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        totals = {k: self.total(dict.fromkeys(self.divergence, k)) for k in self.together}
        order = sorted(self.together, key=totals.__getitem__)
        agreements = -isotonic(-np.array([self.together[k] for k in order], np.float64))
        return np.log(np.maximum([totals[k] for k in order], _TINY)), agreements


def isotonic(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the numbers nearest to ``values`` in least squares that never fall, by pooling adjacent violators, [N]."""
    pools: list[tuple[float, int]] = []
    for value in values.tolist():
        pool = (value, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, count = pools.pop()
            pool = ((mean * count + pool[0] * pool[1]) / (count + pool[1]), count + pool[1])
        pools.append(pool)
    return np.repeat([mean for mean, _ in pools], [count for _, count in pools])


@torch.inference_mode()
def sensitivities(
    plan: QuantizationPlan,
    batches: Sequence[Inputs],
    *,
    classes: str | None,
    bits: Collection[int] = ALL_BITS,
    with_inputs: bool = False,
    most_samples: int = MOST_SAMPLES,
    progress: Callable[[float], None] = lambda _: None,
) -> Sensitivities:
    """Measure Ω of every weight of a plan at every number of bits.

    It takes one pass of the network for each weight and number of bits, on ``most_samples`` inputs, 64 at a time, and
    one for each number of bits with everything quantized.

    Args:
        plan: The network, whether each weight has one scale or one per channel, and its activations' quantizers; its
            weights' own bits do not matter.
        batches: Inputs, such as synthetic ones.
        classes: Name of the output that holds class scores, logits or probabilities; None for another network.
        bits: Numbers of bits to try, each 2 to 8.
        with_inputs: Whether the activation that enters a weight's layer is quantized with it, at the same bits and
            clipped analytically. Other readers of that activation, such as a residual addition, see it so too.
        most_samples: Inputs to measure on; further ones are left.
        progress: Called with the share done.

    Raises:
        ValueError: If there are no batches or no bits.
        FaceterError: ``INFERENCE_FAILED`` where the network answers with nothing that can be compared.
    """
    chosen = list(_bounded(plan, batches, most_samples))
    if not chosen or not bits:
        raise ValueError("nothing to measure: no batches, or no bits")
    device = compute_device()
    network = OnnxModule(plan.model).to(device)
    view = GraphView(plan.model)
    cases: dict[_Case, dict[str, Replacement]] = {
        (site.name, count): {site.name: _fake(weight_quantizer(plan, view, site.name, count))}
        for site in plan.sites.weights
        if site.name in plan.weights
        for count in sorted(set(bits))
    }
    if with_inputs:
        _add_inputs(cases, plan, view, network, chosen)
    activations = {
        name: _fake(quantizer) for name, quantizer in plan.replacements().items() if name not in plan.weights
    }
    for count in sorted(set(bits)):
        alone = [replace for (_, k), replace in cases.items() if k == count]
        cases[_TOGETHER, count] = activations | {name: fake for replace in alone for name, fake in replace.items()}
    tally = _ClassTally(classes) if classes is not None else _OutputTally(network.outputs)
    done = 0
    for batch in chosen:
        inputs = {name: torch.as_tensor(values).to(device) for name, values in batch.items()}
        tally.start(network(inputs, outputs=tally.wanted))
        for case, replace in cases.items():
            tally.add(case, network(inputs, outputs=tally.wanted, replace=replace))
            done += 1
            progress(done / (len(chosen) * len(cases)))
    divergence: dict[str, dict[int, float]] = {}
    agreement: dict[str, dict[int, float]] = {}
    for name, count in cases:
        omega, agreed = tally.result((name, count))
        divergence.setdefault(name, {})[count] = omega
        agreement.setdefault(name, {})[count] = agreed
    divergence.pop(_TOGETHER)
    together = agreement.pop(_TOGETHER)
    samples = sum(len(next(iter(batch.values()))) for batch in chosen)
    return Sensitivities(divergence, agreement, together, samples)


def _bounded(plan: QuantizationPlan, batches: Sequence[Inputs], most_samples: int) -> Iterator[Inputs]:
    """Yield batches until there are enough samples, cut to 64 where the model does not fix its batch."""
    fixed = any(spec.shape and isinstance(spec.shape[0], int) for spec in input_specs(plan.model))
    left = most_samples
    for batch in batches:
        size = len(next(iter(batch.values())))
        step = size if fixed else MOST_AT_ONCE
        for start in range(0, size, step):
            if left <= 0:
                return
            end = size if fixed else min(start + min(step, left), size)
            left -= end - start
            yield {name: values[start:end] for name, values in batch.items()}


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
    statistics: dict[str, TensorStatistics] = observe(network, arrays, axes, Source.CALIBRATION)
    for (name, count), replace in cases.items():
        for site in entering[name]:
            quantizer = clipped_activation([statistics[tensor] for tensor in site.tensors], count)
            replace.update({tensor: _fake(quantizer) for tensor in site.tensors})


def _entering(plan: QuantizationPlan, view: GraphView, layers: Collection[str], weight: str) -> list[ActivationSite]:
    """Return the activations that the layers of a weight take."""
    taken = [
        name
        for node in plan.model.graph.node
        if node_name(node) in layers
        for name in list(node.input)[:2]
        if name != weight and view.constant(name) is None
    ]
    found = {site.name: site for name in taken if (site := plan.sites.activation(name)) is not None}
    return list(found.values())


class _ClassTally:
    """Sums over batches of a classifier's answers."""

    def __init__(self, output: str) -> None:
        self.wanted = [output]
        self._output = output
        self._samples = 0
        self._sums: dict[_Case, list[float]] = {}

    def start(self, answers: Mapping[str, Tensor]) -> None:
        """Take the float network's answers on the next batch."""
        scores = _finite(answers[self._output], self._output)
        self._reference = ClassReference(scores)
        self._samples += self._reference.samples

    def add(self, case: _Case, answers: Mapping[str, Tensor]) -> None:
        """Take the answers on that batch with something quantized."""
        divergence, same = self._reference.compare(_finite(answers[self._output], self._output))
        sums = self._sums.setdefault(case, [0.0, 0.0])
        sums[0] += divergence
        sums[1] += same

    def result(self, case: _Case) -> tuple[float, float]:
        """Return Ω and the agreement."""
        divergence, same = self._sums[case]
        return divergence / self._samples, same / self._samples


class _OutputTally:
    """Sums over batches of any network's outputs."""

    def __init__(self, outputs: Sequence[str]) -> None:
        self.wanted = list(outputs)
        self._power: Tensor | None = None
        self._errors: dict[_Case, Tensor] = {}

    def start(self, answers: Mapping[str, Tensor]) -> None:
        """Take the float network's answers on the next batch."""
        self.wanted = [name for name in self.wanted if answers[name].is_floating_point()]
        if not self.wanted:
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                "None of the model's outputs is a float tensor, so how much they change cannot be measured.",
            )
        self._reference = OutputsReference({name: _finite(answers[name], name) for name in self.wanted}, self.wanted)
        power = self._reference.power()
        self._power = power if self._power is None else self._power + power

    def add(self, case: _Case, answers: Mapping[str, Tensor]) -> None:
        """Take the answers on that batch with something quantized."""
        errors = self._reference.compare({name: _finite(answers[name], name) for name in self.wanted})
        self._errors[case] = self._errors[case] + errors if case in self._errors else errors

    def result(self, case: _Case) -> tuple[float, float]:
        """Return Ω and the agreement."""
        if self._power is None:
            raise ValueError("nothing was measured")
        told = self._power > 0
        if not bool(told.any()):
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                "The model answers with nothing but zeros on the inputs that layers are weighed on.",
            )
        divergence = float((self._errors[case][told] / self._power[told]).mean())
        return divergence, max(0.0, 1.0 - math.sqrt(divergence))


def _finite(values: Tensor, name: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED,
            f"The output {name!r} is not finite (NaN or infinite) on the inputs that layers are weighed on.",
        )
    return values

"""DFQ, data-free quantization through weight equalization and bias correction.

1. Cross-layer range equalization (section 4.1.2). The paper replaces ReLU6 by ReLU for it; here ReLU6 is clipped
   channel by channel instead, which does not change the function.
2. Absorption of high biases by the next layer (section 4.1.3), where it does not change the float function on the data
   or noise at hand.
3. Min–max weight quantization.
4. Bias correction: empirical with calibration data (appendix D), else analytic (section 4.2.1).
5. Activation ranges β ± 6γ, or as measured.

References:
    Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, arXiv 1906.04721.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.batch_norm_folding import BatchNormStatistics
from faceter.graphs.equalization_pairs import find_pairs
from faceter.graphs.quantization_plan import QuantizationPlan
from faceter.graphs.view import GraphView
from workers.onnx_module import OnnxModule
from workers.quantization import bias_correction
from workers.quantization.absorption import absorb_high_biases, absorbable, absorption_errors
from workers.quantization.calibration import activation_statistics, min_max_quantizers
from workers.quantization.equalization import equalize
from workers.quantization.equalization_cost import equalization_cost, few_samples
from workers.quantization.method import MethodResult
from workers.quantization.observation import channel_moments
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.rq import granularity_warnings, min_max_weights


@dataclass(frozen=True)
class DFQ:
    """Settings of DFQ.

    Args:
        equalization: Whether to equalize channel ranges.
        absorption: Whether to absorb high biases.
        correction: Whether to correct biases.
        deviations: Half-width of an activation range from BatchNorm, in standard deviations γ about β.
        absorption_error: Largest relative squared error of an activation that absorption may cause.
    """

    equalization: bool = True
    absorption: bool = True
    correction: bool = True
    deviations: float = 6.0
    absorption_error: float = 1e-3

    def __call__(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the plan of the equalized network with absorbed and corrected biases."""
        warnings: list[str] = []
        if self.equalization:
            prepared = self._equalized(prepared, request, warnings)
        if self.absorption:
            prepared = self._absorbed(prepared, warnings)
        sites = prepared.sites()
        statistics = activation_statistics(prepared, sites, deviations=self.deviations)
        warnings += [*statistics.warnings(), *granularity_warnings(sites, request)]
        weights = min_max_weights(GraphView(prepared.model), sites, request.weight_bits, request.weight_granularity)
        activations = min_max_quantizers(sites, statistics, request.activation_bits)
        plan = QuantizationPlan(prepared.model, weights, activations, sites)
        if not self.correction:
            return MethodResult(plan, warnings)
        if prepared.calibrated:
            warnings.append("Biases were corrected empirically, on the calibration data.")
            return MethodResult(bias_correction.empirical(plan, prepared.batches), warnings)
        model, unknown = bias_correction.analytic(prepared.model, weights, statistics)
        warnings.append("Biases were corrected analytically, from the expected inputs of each layer.")
        if unknown:
            warnings.append(f"Biases not corrected, since the means of the inputs are unknown: {', '.join(unknown)}.")
        return MethodResult(QuantizationPlan(model, weights, activations, sites), warnings)

    def _equalized(
        self, prepared: PreparedNetwork, request: QuantizationRequest, warnings: list[str]
    ) -> PreparedNetwork:
        cost = equalization_cost(prepared, request)
        equalized = equalize(prepared.model, prepared.statistics, cost=cost)
        warnings.append(
            f"Ranges of channels were equalized across {equalized.pairs} pairs of layers in {equalized.rounds} rounds."
            if equalized.pairs
            else "No pair of layers was equalized: there is none, or it would not lower the rounding error."
        )
        bounded = sum(bool(pair.bounds) for pair in find_pairs(equalized.model))
        if bounded:
            warnings.append(
                f"The upper bound of a ReLU6 or clip became one bound for each channel in {bounded} places; the float "
                "function is the same."
            )
        return prepared.with_model(equalized.model, equalized.statistics)

    def _absorbed(self, prepared: PreparedNetwork, warnings: list[str]) -> PreparedNetwork:
        statistics = dict(prepared.statistics)
        missing = [pair.first.output for pair in find_pairs(prepared.model) if pair.first.output not in statistics]
        if missing and prepared.calibrated:
            moments = channel_moments(OnnxModule(prepared.model), prepared.batches, missing, prepared.progress)
            statistics |= {
                name: BatchNormStatistics(mean.astype(np.float32), deviation.astype(np.float32))
                for name, (mean, deviation) in moments.items()
            }
        elif missing:
            warnings.append(
                f"No high biases were absorbed in {len(missing)} layers: the model has no BatchNorm statistics for "
                "them (was BatchNorm folded before upload?) and there are no calibration data."
            )
        errors = absorption_errors(
            OnnxModule(prepared.model), few_samples(prepared), absorbable(prepared.model, statistics)
        )
        costly = [name for name, error in errors.items() if error > self.absorption_error]
        absorbed = absorb_high_biases(prepared.model, statistics, skip=costly)
        if absorbed.pairs:
            largest = max(error for name, error in errors.items() if name not in costly)
            warnings.append(
                f"High biases were absorbed by the next layer in {absorbed.pairs} places; it changes their float "
                f"values by at most {largest**0.5:.1%}, measured on {prepared.source.value}."
            )
        if costly:
            warnings.append(
                f"High biases were left in {len(costly)} places, where absorbing them would change the float function "
                f"by more than {self.absorption_error**0.5:.0%}."
            )
        remaining = {name: item for name, item in absorbed.statistics.items() if name in prepared.statistics}
        return prepared.with_model(absorbed.model, remaining)

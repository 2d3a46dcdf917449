"""DFQ, data-free quantization through weight equalization and bias correction.

1. ReLU6 becomes ReLU where equalization needs it.
2. Ranges of channels are equalized across layers.
3. High biases are absorbed by the next layer.
4. Weights are quantized min–max.
5. The shift of every output's mean is taken out of its bias: by data where there are calibration data, else
analytically. 6. Activation ranges are β ± 6γ, or as measured.

References:
    Nagel, van Baalen, Blankevoort, Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction",
    ICCV 2019, arXiv 1906.04721.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.equalization_pairs import find_pairs, replace_relu6
from faceter.graphs.fold import BatchNormStatistics
from faceter.graphs.qdq import QuantizationPlan
from faceter.graphs.view import GraphView
from workers.network import OnnxModule
from workers.quantization import bias_correction
from workers.quantization.calibration import activation_statistics, min_max_quantizers
from workers.quantization.equalization import absorb_high_biases, equalize
from workers.quantization.observation import channel_moments
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.rq import granularity_notes, min_max_weights


@dataclass(frozen=True)
class DataFreeQuantization:
    """Settings of DFQ.

    Args:
        equalization: Whether to equalize channel ranges.
        absorption: Whether to absorb high biases.
        correction: Whether to correct biases.
        deviations: How many deviations γ an activation range from BatchNorm reaches to each side of β.
    """

    equalization: bool = True
    absorption: bool = True
    correction: bool = True
    deviations: float = 6.0

    def __call__(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the plan of the equalized, absorbed, corrected network."""
        notes: list[str] = []
        if self.equalization:
            prepared = self._equalized(prepared, notes)
        if self.absorption:
            prepared = self._absorbed(prepared, notes)
        sites = prepared.sites()
        statistics = activation_statistics(prepared, sites, deviations=self.deviations)
        notes += [*statistics.notes(), *granularity_notes(sites, request)]
        weights = min_max_weights(GraphView(prepared.model), sites, request.weight_bits, request.weight_granularity)
        activations = min_max_quantizers(sites, statistics, request.activation_bits)
        plan = QuantizationPlan(prepared.model, weights, activations, sites)
        if not self.correction:
            return Outcome(plan, notes)
        if prepared.calibrated:
            notes.append("Biases were corrected empirically, on the calibration data.")
            return Outcome(bias_correction.empirical(plan, prepared.batches), notes)
        model, unknown = bias_correction.analytic(prepared.model, weights, statistics)
        notes.append("Biases were corrected analytically, from the expected inputs of each layer.")
        if unknown:
            notes.append(f"Biases left as they were, the means of the inputs being unknown: {', '.join(unknown)}.")
        return Outcome(QuantizationPlan(model, weights, activations, sites), notes)

    def _equalized(self, prepared: Prepared, notes: list[str]) -> Prepared:
        without = replace_relu6(prepared.model)
        replaced = sum(
            old.op_type != new.op_type for old, new in zip(prepared.model.graph.node, without.graph.node, strict=True)
        )
        if replaced:
            notes.append(
                f"ReLU6 became ReLU in {replaced} places, which equalization needs; it changes values above 6."
            )
        made = equalize(without, prepared.statistics)
        notes.append(f"Ranges of channels were equalized across {made.pairs} pairs of layers in {made.rounds} rounds.")
        return prepared.with_model(made.model, made.statistics)

    def _absorbed(self, prepared: Prepared, notes: list[str]) -> Prepared:
        known = dict(prepared.statistics)
        missing = [pair.first.output for pair in find_pairs(prepared.model) if pair.first.output not in known]
        if missing and prepared.calibrated:
            moments = channel_moments(OnnxModule(prepared.model), prepared.batches, missing, prepared.progress)
            known |= {
                name: BatchNormStatistics(mean.astype(np.float32), deviation.astype(np.float32))
                for name, (mean, deviation) in moments.items()
            }
        elif missing:
            notes.append(
                f"No high biases were absorbed in {len(missing)} layers: the model holds no BatchNorm statistics "
                "for them (BatchNorm was folded away before upload?) and there are no calibration data."
            )
        made = absorb_high_biases(prepared.model, known)
        if made.pairs:
            notes.append(f"High biases were absorbed by the next layer in {made.pairs} places.")
        kept = {name: item for name, item in made.statistics.items() if name in prepared.statistics}
        return prepared.with_model(made.model, kept)

"""Divergence from the float network's outputs: KL of class probabilities, else relative squared error."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind

_SUM_TOLERANCE = 1e-3
_TINY = 1e-30


class ClassDivergence:
    """Mean KL(P ‖ Q) and agreement of a classifier under several cases of quantization, summed over batches.

    Args:
        output: Name of the output of class scores, logits or probabilities.
    """

    def __init__(self, output: str) -> None:
        self.outputs = [output]
        self._output = output
        self._samples = 0
        self._sums: dict[Hashable, list[float]] = {}

    def start_batch(self, outputs: Mapping[str, Tensor]) -> None:
        """Take the float network's outputs on the next batch."""
        scores = _finite(outputs[self._output], self._output)
        self._log, self._are_probabilities = log_probabilities(scores)
        self._probabilities = self._log.exp()
        self._classes = self._log.argmax(1)
        self._samples += len(scores)

    def add(self, case: Hashable, outputs: Mapping[str, Tensor]) -> None:
        """Add the outputs on that batch in one case of quantization."""
        scores = _finite(outputs[self._output], self._output)
        log, _ = log_probabilities(scores, self._are_probabilities)
        # P log P is 0 where P is 0
        terms = torch.where(self._probabilities > 0, self._probabilities * (self._log - log), 0.0)
        sums = self._sums.setdefault(case, [0.0, 0.0])
        sums[0] += float(terms.sum().clamp_min(0))
        sums[1] += int((log.argmax(1) == self._classes).sum())

    def result(self, case: Hashable) -> tuple[float, float]:
        """Return the mean divergence of a case, and the fraction of equal first classes."""
        divergence, same = self._sums[case]
        return divergence / self._samples, same / self._samples


class OutputDivergence:
    """Relative squared error ‖ŷ − y‖² / ‖y‖², the mean over float outputs, under several cases of quantization.

    Args:
        outputs: Names of all outputs; those that are not float are left out.
    """

    def __init__(self, outputs: Sequence[str]) -> None:
        self.outputs = list(outputs)
        self._power: Tensor | None = None
        self._errors: dict[Hashable, Tensor] = {}

    def start_batch(self, outputs: Mapping[str, Tensor]) -> None:
        """Take the float network's outputs on the next batch."""
        self.outputs = [name for name in self.outputs if outputs[name].is_floating_point()]
        if not self.outputs:
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                "None of the model's outputs is a float tensor, so its change cannot be measured.",
            )
        self._reference = {name: _finite(outputs[name], name) for name in self.outputs}
        power = torch.stack([values.double().square().sum().cpu() for values in self._reference.values()])
        self._power = power if self._power is None else self._power + power

    def add(self, case: Hashable, outputs: Mapping[str, Tensor]) -> None:
        """Add the outputs on that batch in one case of quantization."""
        errors = torch.stack(
            [
                (_finite(outputs[name], name).double() - values.double()).square().sum().cpu()
                for name, values in self._reference.items()
            ]
        )
        self._errors[case] = self._errors[case] + errors if case in self._errors else errors

    def result(self, case: Hashable) -> tuple[float, float]:
        """Return the divergence Ω of a case, and the agreement 1 − √Ω, not below 0."""
        if self._power is None:
            raise ValueError("nothing was measured")
        nonzero = self._power > 0
        if not bool(nonzero.any()):
            raise FaceterError(
                ProblemKind.INFERENCE_FAILED,
                "The model's outputs are nothing but zeros on the inputs that sensitivity is measured on.",
            )
        divergence = float((self._errors[case][nonzero] / self._power[nonzero]).mean())
        return divergence, max(0.0, 1.0 - math.sqrt(divergence))


def log_probabilities(scores: Tensor, are_probabilities: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return log P in float64 of rows of logits or probabilities.

    Args:
        scores: [N, …], taken as [N, K].
        are_probabilities: Which rows are probabilities, [N]; if not given, those without a negative value whose sum
            is 1.

    Returns:
        log P [N, K], and which rows are probabilities [N].
    """
    rows = scores.reshape(scores.shape[0], -1).double()
    if are_probabilities is None:
        are_probabilities = (rows >= 0).all(1) & ((rows.sum(1) - 1).abs() <= _SUM_TOLERANCE)
    return torch.where(are_probabilities[:, None], rows.clamp_min(_TINY).log(), rows.log_softmax(1)), are_probabilities


def _finite(values: Tensor, name: str) -> Tensor:
    if not bool(torch.isfinite(values).all()):
        raise FaceterError(
            ProblemKind.INFERENCE_FAILED,
            f"The output {name!r} is not finite (NaN or infinite) on the inputs that sensitivity is measured on.",
        )
    return values

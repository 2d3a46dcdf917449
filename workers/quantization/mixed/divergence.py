"""How far a network's answers are from another's: KL of class probabilities, else relative squared error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_SUM_TOLERANCE = 1e-3
_TINY = 1e-30


def log_probabilities(scores: Tensor, already: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return log P in float64 of rows of logits or, where a row holds them already, of probabilities.

    Args:
        scores: [N, …], taken as [N, K].
        already: Which rows are probabilities, [N]; found out (none negative, sum 1) if not given.

    Returns:
        log P [N, K], and which rows were probabilities [N].
    """
    rows = scores.reshape(scores.shape[0], -1).double()
    if already is None:
        already = (rows >= 0).all(1) & ((rows.sum(1) - 1).abs() <= _SUM_TOLERANCE)
    return torch.where(already[:, None], rows.clamp_min(_TINY).log(), rows.log_softmax(1)), already


class ClassReference:
    """A float network's class scores on one batch, to hold another's against.

    Args:
        scores: Logits or probabilities, [N, K].
    """

    def __init__(self, scores: Tensor) -> None:
        self._log, self._already = log_probabilities(scores)
        self._probabilities = self._log.exp()
        self._first = self._log.argmax(1)
        self.samples = len(scores)

    def compare(self, scores: Tensor) -> tuple[float, int]:
        """Return Σ over the batch of KL(P ‖ Q), and how many first classes are the same.

        Args:
            scores: The other's logits or probabilities, [N, K].
        """
        log, _ = log_probabilities(scores, self._already)
        # P log P is 0 where P is 0
        terms = torch.where(self._probabilities > 0, self._probabilities * (self._log - log), 0.0)
        return float(terms.sum().clamp_min(0)), int((log.argmax(1) == self._first).sum())


class OutputsReference:
    """A float network's outputs of any kind on one batch, to hold another's against.

    Args:
        outputs: By name.
        names: The outputs to look at.
    """

    def __init__(self, outputs: Mapping[str, Tensor], names: Sequence[str]) -> None:
        self._outputs = [outputs[name] for name in names]
        self._names = names

    def power(self) -> Tensor:
        """Return ‖y‖² of each output, float64 [O]."""
        return torch.stack([values.double().square().sum().cpu() for values in self._outputs])

    def compare(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Return ‖ŷ − y‖² of each output, float64 [O]."""
        return torch.stack(
            [
                (outputs[name].double() - values.double()).square().sum().cpu()
                for name, values in zip(self._names, self._outputs, strict=True)
            ]
        )

"""What a tuned method is: settings, a start, and a trainer that takes steps."""

from __future__ import annotations

from typing import ClassVar, Protocol

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.qdq import QuantizationPlan
from workers.quantization.prepared import Outcome, Prepared
from workers.quantization.tuning.loop import Trainer
from workers.quantization.tuning.session import Session


class TunedMethod(Protocol):
    """Settings of a method that trains the network after rounding.

    Attributes:
        equalizes: Whether it begins by equalizing the ranges of channels where that helps (see `scaling`).
    """

    equalizes: ClassVar[bool]

    def check(self, prepared: Prepared) -> None:
        """See that the method works for a network, before any work.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that do work.
        """

    def start(self, prepared: Prepared, request: QuantizationRequest) -> Outcome:
        """Return the network after rounding alone."""

    def trainer(self, session: Session, start: QuantizationPlan) -> Trainer:
        """Return the method at work, as it stands before its first step."""

"""Interface of the methods that train after rounding."""

from __future__ import annotations

from typing import ClassVar, Protocol

from faceter.contracts.quantizations import QuantizationRequest
from faceter.graphs.quantization_plan import QuantizationPlan
from workers.quantization.method import MethodResult
from workers.quantization.prepare import PreparedNetwork
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.trainer import TuningTrainer


class TunedMethod(Protocol):
    """Settings of a method that trains the network after rounding.

    Attributes:
        equalizes: Whether channel ranges are equalized first where that helps (see :mod:`equalization_choice`).
    """

    equalizes: ClassVar[bool]

    def check(self, prepared: PreparedNetwork) -> None:
        """Check that the method applies to a network.

        Raises:
            FaceterError: ``METHOD_NOT_APPLICABLE``, naming methods that do.
        """

    def start(self, prepared: PreparedNetwork, request: QuantizationRequest) -> MethodResult:
        """Return the network after rounding, before any training."""

    def trainer(self, session: TuningSession, start: QuantizationPlan) -> TuningTrainer:
        """Return the trainer of the method, before its first step."""

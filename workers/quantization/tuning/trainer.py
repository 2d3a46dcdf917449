"""The trainer of a tuned method."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.network import QuantizedNetwork
from workers.training.trainer import Trainer


class TuningTrainer(Trainer):
    """Trains a quantized network Q towards the float network P.

    Attributes:
        path: Where its inputs come from, for the report.
        student: The quantized network Q.
    """

    path: str

    def __init__(self, session: TuningSession) -> None:
        super().__init__()
        self.session = session
        self.student: QuantizedNetwork

    @property
    def ready(self) -> bool:
        """Whether the student has the requested bits, rather than those of an earlier stage."""
        return True

    @abstractmethod
    def held_out(self) -> Tensor | None:
        """Return inputs that nothing is tuned on; None as long as there are none."""

    @abstractmethod
    def synthetic(self) -> Tensor | None:
        """Return the generated inputs, [N, …] as the network takes them; None if none were generated."""

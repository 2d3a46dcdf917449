"""Input synthesis as a run of the training loop, for searches that need inputs before they tune."""

from __future__ import annotations

from torch import Tensor

from workers.jobs.checkpoints import State
from workers.quantization.tuning.inputs.space import InputSpace
from workers.quantization.tuning.inputs.synthesis import InputSynthesis, SynthesisSettings
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.network import QuantizedNetwork
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.trainer import Losses


class SynthesisTrainer(TuningTrainer):
    """Runs :class:`InputSynthesis` in the training loop; the quantized network is not trained.

    Args:
        student: The quantized network.
    """

    def __init__(
        self, session: TuningSession, space: InputSpace, student: QuantizedNetwork, settings: SynthesisSettings
    ) -> None:
        super().__init__(session)
        self.student = student.requires_grad_(False)
        self._synthesis = InputSynthesis(session, space, settings)
        self.path = self._synthesis.path

    @property
    def phase(self) -> str:
        """Always synthesis."""
        return "synthesis"

    @property
    def ready(self) -> bool:
        """Always false: nothing is tuned."""
        return False

    def step(self, fraction: float) -> Losses:
        """Take one step of synthesis."""
        return self._synthesis.step(self.rate)

    def held_out(self) -> Tensor | None:
        """Return None: nothing is held out."""
        return None

    def synthetic(self) -> Tensor:
        """Return all finished inputs, [N, …]."""
        return self._synthesis.all_inputs()

    def state(self) -> State:
        """Return the state for a checkpoint."""
        return {"synthesis": self._synthesis.state()}

    def restore(self, state: State) -> None:
        """Restore what :meth:`state` returned."""
        self._synthesis.restore(state["synthesis"])

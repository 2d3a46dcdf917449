"""Making inputs and nothing else: a run of synthesis for those who need inputs before they can tune."""

from __future__ import annotations

from torch import Tensor

from workers.jobs.checkpoints import State
from workers.quantization.tuning.inputs import InputSpace
from workers.quantization.tuning.loop import Losses, Trainer
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.session import Session
from workers.quantization.tuning.synthesis import Objective, Synthesis


class InputMaker(Trainer):
    """Synthesis in the loop of a tuned method; its quantized network stays as it is.

    Args:
        session: Has the float network.
        space: Where inputs lie.
        adversary: The quantized network that inputs are sought against where there are no BatchNorm statistics.
        objective: Settings.
    """

    def __init__(self, session: Session, space: InputSpace, adversary: QuantizedNetwork, objective: Objective) -> None:
        super().__init__(session)
        self.student = adversary.requires_grad_(False)
        self._synthesis = Synthesis(session, space, adversary, objective)
        self.path = self._synthesis.path

    @property
    def phase(self) -> str:
        """What it does."""
        return "synthesis"

    @property
    def ready(self) -> bool:
        """Never: nothing is tuned."""
        return False

    def step(self, fraction: float) -> Losses:
        """Take one step on the inputs in work."""
        return self._synthesis.step(self.rate)

    def held_out(self) -> Tensor | None:
        """Return None: nothing is tuned, so nothing is held out."""
        return None

    def synthetic(self) -> Tensor:
        """Return all inputs made."""
        return self._synthesis.pool()

    def state(self) -> State:
        """Return everything that later steps depend on."""
        return {"synthesis": self._synthesis.state()}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self._synthesis.restore(state["synthesis"])

"""Measures a student on held-out inputs and keeps the best: early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from faceter.graphs.quantization_plan import QuantizationPlan
from workers.jobs.checkpoints import State
from workers.quantization.tuning.plan_states import plan_from_state, plan_state
from workers.quantization.tuning.student.losses import agreement, output_divergence
from workers.quantization.tuning.student.network import QuantizedNetwork
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.monitor import Measured, Monitor

_MAX_BATCH = 256

Accuracy = Callable[[QuantizedNetwork], float | None]
"""Measures a network on a part of the evaluation data; shown only, nothing is chosen by it."""


class HoldOut(Monitor):
    """Measures divergence and agreement of the student, and keeps the one of least divergence.

    The held-out inputs may change during tuning; then the best so far is measured again on the new ones.

    Args:
        trainer: Has the student and the held-out inputs.
        accuracy: Measured beside agreement.
    """

    def __init__(self, trainer: TuningTrainer, accuracy: Accuracy) -> None:
        self._trainer = trainer
        self._session = trainer.session
        self._accuracy = accuracy
        self._best: State | None = None
        self._best_step = 0
        self._best_divergence: tuple[Tensor, float] | None = None
        self._teacher_outputs: tuple[Tensor, list[dict[str, Tensor]]] | None = None

    def measure(self, step: int) -> Measured | None:
        """Measure the student, and keep it if it is ready and the best; None if nothing is held out yet."""
        held_out = self._trainer.held_out()
        if held_out is None:
            return None
        student = self._trainer.student
        divergence, measured = self._compare(student, held_out)
        if self._trainer.ready and math.isfinite(divergence) and not self._least_divergence(held_out) <= divergence:
            self._best = plan_state(student.plan())
            self._best_step = step
            self._best_divergence = held_out, divergence
        return {"agreement": measured, "accuracy": self._accuracy(student)}

    def finalize(self, step: int) -> Measured | None:
        """Measure the student after the last step, if it is ready."""
        return self.measure(step) if self._trainer.ready else None

    def best(self, start: QuantizationPlan) -> tuple[QuantizationPlan, int, float | None]:
        """Return the best network, its step and its agreement; ``start`` and step 0 if no student is better.

        Args:
            start: The network after rounding alone.
        """
        held_out = self._trainer.held_out()
        if self._best is None or held_out is None:
            return start, 0, None
        tuned = plan_from_state(self._best)
        before, after = (self._compare(self._network(plan), held_out) for plan in (start, tuned))
        if after[0] < before[0]:
            return tuned, self._best_step, after[1]
        return start, 0, before[1]

    def state(self) -> State:
        """Return the best network so far and its step."""
        return {"best": self._best, "best_step": self._best_step}

    def restore(self, state: State) -> None:
        """Go on from what :meth:`state` returned."""
        self._best, self._best_step = state["best"], state["best_step"]
        self._best_divergence = None

    def _network(self, plan: QuantizationPlan) -> QuantizedNetwork:
        return self._session.student(plan, learned_steps=False)

    def _least_divergence(self, held_out: Tensor) -> float:
        """Return the divergence of the best network so far on the current held-out inputs; infinity if none."""
        if self._best is None:
            return math.inf
        if self._best_divergence is None or self._best_divergence[0] is not held_out:
            divergence, _ = self._compare(self._network(plan_from_state(self._best)), held_out)
            self._best_divergence = held_out, divergence
        return self._best_divergence[1]

    @torch.no_grad()
    def _compare(self, network: QuantizedNetwork, held_out: Tensor) -> tuple[float, float]:
        """Return the divergence of a network from P on held-out inputs, and its agreement."""
        batches = torch.split(held_out, min(_MAX_BATCH, self._session.max_batch))
        if self._teacher_outputs is None or self._teacher_outputs[0] is not held_out:
            self._teacher_outputs = held_out, [self._session.teacher_outputs(batch) for batch in batches]
        heads = self._session.heads
        divergences, agreements = 0.0, 0.0
        for batch, expected in zip(batches, self._teacher_outputs[1], strict=True):
            outputs = self._session.run(network, batch)
            divergences += len(batch) * float(output_divergence(heads, expected, outputs))
            agreements += len(batch) * float(agreement(heads, expected, outputs))
        return divergences / len(held_out), agreements / len(held_out)

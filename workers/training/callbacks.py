"""What the training loop asks of the job it runs in."""

from __future__ import annotations

import time
from collections.abc import Callable

from faceter.contracts.jobs import Training
from workers.jobs import checkpoints
from workers.jobs.checkpoints import State
from workers.jobs.context import JobContext
from workers.jobs.stages import Stage
from workers.training.replicas import ALONE, Replicas


class Callbacks:
    """Callbacks of the training loop; these do nothing, for a run outside of a job.

    Attributes:
        replicas: The processes that share the training.
    """

    replicas: Replicas = ALONE

    def progress(self, fraction: float, training: Training) -> None:
        """Report progress after a step.

        Args:
            fraction: Used fraction of the budget.
            training: Losses and measurements.
        """

    def stop_requested(self) -> bool:
        """Return whether to end now with the best so far."""
        return False

    def checkpoint_due(self) -> bool:
        """Return whether it is time for a checkpoint."""
        return False

    def save_checkpoint(self, state: State) -> None:
        """Write a checkpoint before returning, since later steps change its tensors."""

    def load_checkpoint(self) -> State | None:
        """Return the checkpoint of an earlier attempt."""
        return None


class JobCallbacks(Callbacks):
    """Callbacks of a run that is one stage of a job. Checkpoints are `checkpoint_seconds` apart.

    Args:
        context: The job.
        stage: Takes the progress.
        resume: Whether to write checkpoints, and to resume from the checkpoint of an earlier attempt.
        clock: Monotonic seconds.
    """

    def __init__(
        self, context: JobContext, stage: Stage, *, resume: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.context = context
        self.replicas = context.replicas
        self._stage = stage
        self._resume = resume
        self._clock = clock
        self._saved_at = clock()

    def progress(self, fraction: float, training: Training) -> None:
        """Report progress as part of the job's; the step is the phase."""
        self._stage(fraction, training.phase, training)

    def stop_requested(self) -> bool:
        """Return whether the job was asked to finish early."""
        return self.context.stop_requested()

    def checkpoint_due(self) -> bool:
        """Return whether the last checkpoint is old enough."""
        return self._resume and self._clock() - self._saved_at >= self.context.settings.checkpoint_seconds

    def save_checkpoint(self, state: State) -> None:
        """Write a checkpoint."""
        self.write(state)
        self._saved_at = self._clock()

    def load_checkpoint(self) -> State | None:
        """Return the checkpoint of an earlier attempt, if the run may resume from it."""
        content = self.replicas.agreed_bytes(self.context.load_checkpoint) if self._resume else None
        return None if content is None else self.read(content)

    def write(self, state: State) -> None:
        """Save a state in the format of the job's checkpoints."""
        self.context.save_checkpoint(checkpoints.dump(state))

    def read(self, content: bytes) -> State:
        """Return the state that :meth:`write` saved."""
        return checkpoints.load(content)

"""The callbacks of a job: progress in its stage, finishing early, and checkpoints by the clock."""

from __future__ import annotations

import pytest
import torch

from faceter.contracts.jobs import Training
from faceter.contracts.settings import Settings
from tests.workers.training.fakes import Clock
from workers.jobs.context import JobContext
from workers.jobs.stages import Stages
from workers.training.callbacks import JobCallbacks


class FakeContext(JobContext):
    """A job without a store."""

    def __init__(self) -> None:
        self.settings = Settings(_env_file=None, checkpoint_seconds=60.0)
        self.reports: list[tuple[str, float, Training | None]] = []
        self.checkpoint: bytes | None = None
        self.finish = False

    def progress(self, step: str, fraction: float, training: Training | None = None) -> None:
        self.reports.append((step, fraction, training))

    def stop_requested(self) -> bool:
        return self.finish

    def save_checkpoint(self, content: object) -> None:
        assert isinstance(content, bytes)
        self.checkpoint = content

    def load_checkpoint(self) -> bytes | None:
        return self.checkpoint


def callbacks(context: FakeContext, clock: Clock, *, resume: bool = True) -> JobCallbacks:
    stage = Stages(context.progress, {"reading": 1, "tuning": 3}).enter("tuning")
    return JobCallbacks(context, stage, resume=resume, clock=clock)


def test_progress_is_that_of_the_stage_and_its_step_is_the_phase() -> None:
    context = FakeContext()
    training = Training(phase="warm-up", step=7)
    callbacks(context, Clock()).progress(0.5, training)
    step, fraction, reported = context.reports[-1]
    assert (step, reported) == ("warm-up", training)
    assert fraction == pytest.approx(0.625)


def test_a_job_can_be_finished_early() -> None:
    context = FakeContext()
    job_callbacks = callbacks(context, Clock())
    assert not job_callbacks.stop_requested()
    context.finish = True
    assert job_callbacks.stop_requested()


def test_checkpoints_are_a_minute_apart() -> None:
    context, clock = FakeContext(), Clock()
    timed = callbacks(context, clock)
    due = []
    for second in range(0, 200, 10):
        clock.now = float(second)
        if timed.checkpoint_due():
            timed.save_checkpoint({"weight": torch.ones(2), "second": second})
            due.append(second)
    assert due == [60, 120, 180]
    state = callbacks(context, clock).load_checkpoint()
    assert state is not None
    assert (state["second"], state["weight"].tolist()) == (180, [1.0, 1.0])


def test_a_run_that_is_not_resumable_has_no_checkpoints() -> None:
    context, clock = FakeContext(), Clock()
    context.checkpoint = b"of an earlier attempt"
    timed = callbacks(context, clock, resume=False)
    clock.now = 1000.0
    assert not timed.checkpoint_due()
    assert timed.load_checkpoint() is None

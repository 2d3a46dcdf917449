"""The training loop: budget, phases, divergence, measurements, curves, checkpoints and progress."""

import math
from typing import Any

import pytest
import torch

from tests.workers.training.fakes import Clock, CountingMonitor, FakeTrainer, KilledError, RecordingCallbacks
from workers.jobs import checkpoints
from workers.training.budget import Budget
from workers.training.callbacks import Callbacks
from workers.training.loop import DivergedError, DivergencePolicy, RunResult, TrainingLoop
from workers.training.trainer import Losses

NAN, INFINITY = math.nan, math.inf
PHASE = DivergencePolicy(back_to="phase", rate_factor=0.2)
CHECKPOINT = DivergencePolicy(back_to="checkpoint", rate_factor=0.5)

every_policy = pytest.mark.parametrize("policy", [PHASE, CHECKPOINT], ids=["phase", "checkpoint"])


def run(
    trainer: FakeTrainer,
    steps: int,
    callbacks: Callbacks | None = None,
    policy: DivergencePolicy = PHASE,
    monitor: CountingMonitor | None = None,
    clock: Clock | None = None,
    points: int = 200,
) -> RunResult:
    clock = clock or trainer._clock
    budget = Budget(steps=steps, clock=clock)
    return TrainingLoop(trainer, budget, policy, callbacks=callbacks, monitor=monitor, points=points, clock=clock).run()


def sums(steps: int, rate: float = 1.0) -> float:
    """Return the weight after so many steps."""
    return rate * steps * (steps + 1) / 2


@every_policy
def test_a_budget_in_steps_is_used_up(policy: DivergencePolicy) -> None:
    trainer = FakeTrainer([0.5] * 24)
    result = run(trainer, 24, policy=policy)
    assert (result.ended_by, result.steps, result.seconds, result.restarts, result.resumed) == ("budget", 24, 24, 0, 0)
    assert trainer.fractions == [pytest.approx(index / 24) for index in range(24)]
    assert trainer.finalized


def test_a_budget_in_seconds_goes_by_the_clock() -> None:
    clock = Clock()
    trainer = FakeTrainer([0.5] * 20, clock=clock)
    budget = Budget(seconds=9.5, clock=clock)
    result = TrainingLoop(trainer, budget, PHASE, clock=clock).run()
    assert (result.ended_by, result.steps, result.seconds) == ("budget", 10, 10.0)
    assert trainer.fractions == [pytest.approx(index / 9.5) for index in range(10)]


def test_without_a_budget_nothing_happens() -> None:
    trainer, monitor = FakeTrainer([]), CountingMonitor()
    result = run(trainer, 0, monitor=monitor)
    assert (result.steps, result.points, result.phases, dict(result.losses)) == (0, [], [], {})
    assert not trainer.finalized
    assert monitor.finalized_at is None


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_it_ends_when_it_is_to_finish_early(stop_after: int) -> None:
    trainer = FakeTrainer([0.5] * 9)
    result = run(trainer, 9, RecordingCallbacks(stop_after=stop_after))
    assert (result.ended_by, result.steps) == ("request", stop_after)
    assert trainer.finalized is (stop_after > 0)


def test_every_step_is_reported() -> None:
    callbacks = RecordingCallbacks()
    run(FakeTrainer([0.5, 0.4, 0.3, 0.2], phases=[2]), 4, callbacks)
    assert [fraction for fraction, _ in callbacks.reports] == [0.25, 0.5, 0.75, 1.0]
    reports = [training for _, training in callbacks.reports]
    assert [training.step for training in reports] == [1, 2, 3, 4]
    assert [training.phase for training in reports] == ["phase 0", "phase 0", "phase 1", "phase 1"]
    assert [training.losses["loss"] for training in reports] == pytest.approx([0.5, 0.45, 0.3, 0.25])
    assert [training.losses["twice"] for training in reports] == pytest.approx([1.0, 0.9, 0.6, 0.5])


def test_losses_and_speed_are_those_of_the_last_100_steps() -> None:
    callbacks = RecordingCallbacks()
    result = run(FakeTrainer([float(step) for step in range(1, 151)]), 150, callbacks)
    reports = [training for _, training in callbacks.reports]
    assert reports[0].steps_per_second is None
    assert (reports[49].steps_per_second, reports[149].steps_per_second) == (1.0, 1.0)
    assert reports[49].losses["loss"] == pytest.approx(25.5)
    assert reports[149].losses["loss"] == pytest.approx(100.5)
    assert result.losses == reports[149].losses


def test_steps_and_seconds_are_counted_by_phase() -> None:
    result = run(FakeTrainer([0.5] * 7, phases=[2, 5]), 7)
    assert result.phases == [
        {"name": "phase 0", "steps": 2, "seconds": 2.0},
        {"name": "phase 1", "steps": 3, "seconds": 3.0},
        {"name": "phase 2", "steps": 2, "seconds": 2.0},
    ]


def test_losses_may_differ_from_step_to_step() -> None:
    class Alternating(FakeTrainer):
        def step(self, fraction: float) -> Losses:
            losses = super().step(fraction)
            return {"even" if self.steps % 2 == 0 else "odd": losses["loss"]}

    callbacks = RecordingCallbacks()
    result = run(Alternating([1.0, 2.0, 3.0, 4.0]), 4, callbacks, points=1)
    assert callbacks.reports[-1][1].losses == {"odd": 2.0, "even": 3.0}
    assert [dict(point.losses) for point in result.points] == [{"odd": 2.0, "even": 3.0}]


def test_it_measures_40_times_and_at_the_end() -> None:
    monitor, callbacks = CountingMonitor(), RecordingCallbacks()
    result = run(FakeTrainer([0.5] * 400), 400, callbacks, monitor=monitor)
    assert monitor.steps == [1, *range(10, 400, 10)]
    assert monitor.finalized_at == 400
    assert [training.agreement for _, training in callbacks.reports[:10]] == [0.01] * 9 + [0.02]
    measured = {point.step: dict(point.measured) for point in result.points if point.measured}
    assert list(measured) == [*monitor.steps, 400]
    assert measured[400] == {"agreement": 1.0, "accuracy": 0.5}


@pytest.mark.parametrize("wrong", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("at", [2, 3], ids=["in the first step of a phase", "later in it"])
def test_a_loss_that_is_not_finite_begins_the_phase_again(at: int, wrong: float) -> None:
    losses = [0.5] * at + [wrong] + [0.5] * 4
    trainer = FakeTrainer(losses, phases=[2])
    callbacks = RecordingCallbacks()
    result = run(trainer, len(losses), callbacks)
    assert trainer.calls == [(step, 1.0) for step in range(at + 1)] + [(step, 0.2) for step in range(2, 6)]
    assert (result.restarts, result.steps) == (1, len(losses)), "steps of the first try stay counted"
    assert float(trainer.weight) == pytest.approx(sums(2) + 0.2 * (sums(6) - sums(2)))
    assert len(callbacks.reports) == len(losses) - 1
    assert all(math.isfinite(value) for point in result.points for value in point.losses.values())


def test_a_phase_that_diverges_again_is_a_failure_with_its_curves() -> None:
    trainer = FakeTrainer([0.5, 0.4, NAN, 0.3, 0.2, NAN], phases=[])
    with pytest.raises(DivergedError, match="loss is nan, twice is nan after 6 steps") as caught:
        run(trainer, 9)
    assert [point.step for point in caught.value.points] == [1, 2, 4, 5]
    assert [point.losses["loss"] for point in caught.value.points] == pytest.approx([0.5, 0.4, 0.3, 0.2])


def test_a_loss_that_is_not_finite_goes_back_to_the_last_checkpoint() -> None:
    trainer = FakeTrainer([0.5] * 7 + [NAN] + [0.5] * 6)
    result = run(trainer, 12, RecordingCallbacks(every=3), CHECKPOINT)
    assert (result.ended_by, result.steps, result.restarts) == ("budget", 12, 1)
    assert trainer.calls[7:9] == [(7, 1.0), (6, 0.5)], "from the state after six steps"
    assert trainer.rate == 0.5
    assert float(trainer.weight) == pytest.approx(sums(6) + 0.5 * (sums(12) - sums(6)))
    assert [point.step for point in result.points] == list(range(1, 13))


def test_without_a_checkpoint_it_starts_again() -> None:
    trainer = FakeTrainer([0.5, NAN] + [0.5] * 12)
    result = run(trainer, 12, RecordingCallbacks(every=3), CHECKPOINT)
    assert (result.ended_by, result.steps, len(trainer.calls), trainer.rate) == ("budget", 12, 14, 0.5)
    assert float(trainer.weight) == pytest.approx(sums(12, 0.5))


def test_a_second_divergence_ends_with_the_last_checkpoint() -> None:
    trainer = FakeTrainer([0.5] * 7 + [NAN] + [0.5] * 4 + [NAN])
    result = run(trainer, 12, RecordingCallbacks(every=3), CHECKPOINT)
    assert (result.ended_by, result.steps, result.restarts) == ("diverged", 8, 1)
    assert [point.step for point in result.points] == list(range(1, 9))
    assert dict(result.losses) == dict(result.points[-1].losses)
    assert float(trainer.weight) == pytest.approx(sums(6) + 0.5 * (sums(8) - sums(6)))


def test_a_second_divergence_without_a_checkpoint_is_a_failure() -> None:
    with pytest.raises(DivergedError, match="loss is nan") as caught:
        run(FakeTrainer([0.5, NAN, 0.5, NAN]), 12, policy=CHECKPOINT)
    assert [point.step for point in caught.value.points] == [1]


@pytest.mark.parametrize(("at", "every", "ended", "steps"), [(6, 3, "budget", 12), (12, 5, "diverged", 10)])
def test_weights_that_are_not_finite_are_neither_saved_nor_returned(
    at: int, every: int, ended: str, steps: int
) -> None:
    """Found when a checkpoint is due, and after the last step, while losses are still finite."""
    trainer = FakeTrainer([0.5] * 20, spoiled=[at])
    callbacks = RecordingCallbacks(every=every)
    result = run(trainer, 12, callbacks, CHECKPOINT)
    assert (result.ended_by, result.steps) == (ended, steps)
    assert trainer.is_finite()
    for content in callbacks.checkpoints:
        assert bool(checkpoints.load(content)["trainer"]["weight"].isfinite().all())


@every_policy
@pytest.mark.parametrize("killed_after", [1, 4, 5, 7])
def test_a_resumed_run_ends_as_an_uninterrupted_one(killed_after: int, policy: DivergencePolicy) -> None:
    """Weights, rates, curves, measurements and counts, whether it diverges before or after the interruption."""
    diverging = {3: NAN}

    class Fixed(FakeTrainer):
        """Diverges at its fourth step, at the full rate only."""

        def step(self, fraction: float) -> Losses:
            index, rate = self.steps, self.rate
            losses = super().step(fraction)
            return {**losses, "loss": torch.tensor(diverging.get(index, 0.5 / (index + 1)) if rate == 1 else 0.1)}

    def attempt(callbacks: RecordingCallbacks) -> tuple[Fixed, RunResult, CountingMonitor]:
        clock, monitor = Clock(), CountingMonitor()
        trainer = Fixed([0.5] * 30, clock=clock, phases=[2])
        return trainer, run(trainer, 9, callbacks, policy, monitor), monitor

    whole, expected, measured = attempt(RecordingCallbacks(every=1))
    killed = RecordingCallbacks(every=1, killed_after=killed_after)
    with pytest.raises(KilledError):
        attempt(killed)
    trainer, result, again = attempt(RecordingCallbacks(every=1, checkpoint=killed.checkpoint))

    assert torch.equal(trainer.weight, whole.weight)
    assert trainer.calls[-1] == whole.calls[-1]
    assert (expected.resumed, result.resumed) == (0, 1)
    fields: dict[str, Any] = {**vars(expected), "resumed": 1}
    assert vars(result) == fields
    assert again.steps == measured.steps


def test_seconds_before_an_interruption_count() -> None:
    clock = Clock()
    killed = RecordingCallbacks(every=1, killed_after=3)
    with pytest.raises(KilledError):
        TrainingLoop(
            FakeTrainer([0.5] * 20, clock=clock), Budget(seconds=6.0, clock=clock), PHASE, callbacks=killed
        ).run()
    clock.now += 1000
    resumed = RecordingCallbacks(checkpoint=killed.checkpoint)
    loop = TrainingLoop(
        FakeTrainer([0.5] * 20, clock=clock), Budget(seconds=6.0, clock=clock), PHASE, callbacks=resumed, clock=clock
    )
    result = loop.run()
    assert (result.steps, result.seconds) == (6, 6.0)


def test_no_checkpoint_is_written_unless_due() -> None:
    callbacks = RecordingCallbacks()
    run(FakeTrainer([0.5, 0.4]), 2, callbacks)
    assert callbacks.checkpoint is None

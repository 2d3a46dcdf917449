"""The loop of a training: how it ends, what it tells, checkpoints, and losses that are no longer finite."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from tests.workers.translation.sources import small_cyclegan, small_pix2pix
from tests.workers.translation.test_trainer import equal
from workers.jobs import checkpoints
from workers.training.budget import Budget
from workers.translation.cyclegan import CycleGan
from workers.translation.loop import Progress, Training
from workers.translation.trainer import Trainer


class Clock:
    """A clock that goes on by a second each time a step is taken."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ticking(trainer: Trainer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let every step take a second; returns the list of the shares done that the steps are told."""
    shares: list[float] = []
    step = trainer.step

    def timed(share: float) -> Mapping[str, Tensor]:
        clock.now += 1.0
        shares.append(share)
        return step(share)

    monkeypatch.setattr(trainer, "step", timed)
    return shares


def spoiled(trainer: Trainer, at: set[int], monkeypatch: pytest.MonkeyPatch, *, weights: bool = False) -> list[int]:
    """Let a loss be NaN at the calls of a step with these numbers, or weights; returns the list of calls made."""
    calls: list[int] = []
    step = trainer.step

    def broken(share: float) -> Mapping[str, Tensor]:
        calls.append(len(calls) + 1)
        losses = dict(step(share))
        if len(calls) in at:
            network = next(iter(trainer.networks.values()))
            with torch.no_grad():
                next(network.parameters()).view(-1)[0] = float("nan")
            if not weights:
                losses[next(iter(losses))] = torch.tensor(float("nan"))
        return losses

    monkeypatch.setattr(trainer, "step", broken)
    return calls


def test_a_budget_in_steps_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, clock = small_cyclegan(tmp_path), Clock()
    shares = ticking(trainer, clock, monkeypatch)
    trained = Training(trainer, Budget(steps=trainer.data.steps(2), clock=clock), clock=clock).run()
    assert (trained.ended_by, trained.steps, trained.epochs, trained.seconds) == ("budget", 24, 2.0, 24.0)
    assert shares == [pytest.approx(index / 24) for index in range(24)]
    assert len(trained.curves) == 24
    assert trained.trainer is trainer
    assert trained.losses["cycle_a"] == pytest.approx(sum(p.losses["cycle_a"] for p in trained.curves) / 24)


def test_a_budget_in_seconds_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, clock = small_pix2pix(tmp_path), Clock()
    shares = ticking(trainer, clock, monkeypatch)
    trained = Training(trainer, Budget(seconds=10.0, clock=clock), clock=clock).run()
    assert (trained.ended_by, trained.steps) == ("budget", 10)
    assert shares == [pytest.approx(index / 10) for index in range(10)]


def test_it_ends_when_asked(tmp_path: Path) -> None:
    asked = iter([False, False, False, True])
    trained = Training(small_cyclegan(tmp_path), Budget(steps=100), stop_requested=lambda: next(asked)).run()
    assert (trained.ended_by, trained.steps) == ("request", 3)


def test_it_tells_after_each_step_how_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, clock = small_cyclegan(tmp_path), Clock()
    ticking(trainer, clock, monkeypatch)
    told: list[Progress] = []
    trained = Training(trainer, Budget(steps=150, clock=clock), progress=told.append, clock=clock).run()
    assert [item.step for item in told] == list(range(1, 151))
    assert (told[0].steps_per_second, told[0].seconds_left) == (None, None)
    assert (told[49].steps_per_second, told[49].seconds_left) == (1.0, 100.0)
    assert told[49].fraction == pytest.approx(1 / 3)
    assert told[49].epochs == pytest.approx(50 / 12)
    for item in (told[30], told[149]):
        recent = trained.curves[max(0, item.step - 101) : item.step]
        assert item.losses["D_a"] == pytest.approx(sum(point.losses["D_a"] for point in recent) / len(recent))


def test_seconds_left_are_those_of_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, clock = small_pix2pix(tmp_path), Clock()
    ticking(trainer, clock, monkeypatch)
    told: list[Progress] = []
    Training(trainer, Budget(seconds=5.0, clock=clock), progress=told.append, clock=clock).run()
    assert [item.seconds_left for item in told] == [4.0, 3.0, 2.0, 1.0, 0.0]


@pytest.mark.parametrize("make", [small_cyclegan, small_pix2pix], ids=["cyclegan", "pix2pix"])
def test_a_training_goes_on_from_its_checkpoint_as_if_nothing_had_been(
    make: Callable[[Path], Trainer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, clock = make(tmp_path), Clock()
    ticking(whole, clock, monkeypatch)
    expected = Training(whole, Budget(steps=20, clock=clock), clock=clock).run()

    trainer, clock = make(tmp_path), Clock()
    ticking(trainer, clock, monkeypatch)
    kept: list[bytes] = []
    asked = iter([False] * 16 + [True])
    training = Training(
        trainer,
        Budget(steps=20, clock=clock),
        every=7.0,
        checkpoint=lambda state: kept.append(checkpoints.dump(state)),
        stop_requested=lambda: next(asked),
        clock=clock,
    )
    assert training.run().ended_by == "request"
    assert len(kept) == 2, "after 7 steps and after 14"

    trainer, clock = make(tmp_path), Clock()
    ticking(trainer, clock, monkeypatch)
    training = Training(trainer, Budget(steps=20, clock=clock), clock=clock)
    training.restore(checkpoints.load(kept[-1]))
    found = training.run()
    assert equal(trainer, whole)
    assert found.curves == expected.curves
    assert (found.steps, found.seconds, found.epochs) == (20, 20.0, expected.epochs)


def diverging(
    folder: Path, at: set[int], monkeypatch: pytest.MonkeyPatch, *, weights: bool = False, every: float = 3.0
) -> tuple[CycleGan, Training, list[int]]:
    """Return a training of 12 steps, with a checkpoint every third second, that is spoiled at some calls."""
    trainer, clock = small_cyclegan(folder), Clock()
    ticking(trainer, clock, monkeypatch)
    calls = spoiled(trainer, at, monkeypatch, weights=weights)
    return trainer, Training(trainer, Budget(steps=12, clock=clock), every=every, clock=clock), calls


def test_losses_that_are_not_finite_send_it_back_once_at_half_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, training, calls = diverging(tmp_path, {8}, monkeypatch)
    trained = training.run()
    assert (trained.ended_by, trained.steps, trained.restarts) == ("budget", 12, 1)
    assert len(calls) == 14, "two of eight are taken once more, from the state after six"
    assert trainer.rate == 0.5
    assert [point.step for point in trained.curves] == list(range(1, 13))
    assert trained.epochs == 1.0
    assert all(bool(p.isfinite().all()) for network in trainer.networks.values() for p in network.parameters())


def test_without_a_good_state_it_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, training, calls = diverging(tmp_path, {2}, monkeypatch)
    trained = training.run()
    assert (trained.ended_by, trained.steps, len(calls), trainer.rate) == ("budget", 12, 14, 0.5)


def test_a_second_time_it_ends_with_the_last_good_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, training, calls = diverging(tmp_path, {8, 13}, monkeypatch)
    trained = training.run()
    assert (trained.ended_by, trained.steps, trained.restarts) == ("diverged", 10, 1)
    assert [point.step for point in trained.curves] == list(range(1, 11))
    assert trained.losses == trained.curves[-1].losses
    assert all(bool(p.isfinite().all()) for network in trainer.networks.values() for p in network.parameters())
    assert len(calls) == 13


def test_a_second_time_without_a_good_state_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, training, _ = diverging(tmp_path, {1, 3}, monkeypatch)
    with pytest.raises(FaceterError, match="G_a2b is nan") as caught:
        training.run()
    assert caught.value.kind is ProblemKind.TRAINING_DIVERGED
    assert caught.value.problem().model_dump()["curves"][0]["step"] == 1


@pytest.mark.parametrize(("at", "every", "ended", "steps"), [(6, 3.0, "budget", 12), (12, 5.0, "diverged", 10)])
def test_weights_that_are_not_finite_are_neither_kept_nor_handed_out(
    at: int, every: float, ended: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a checkpoint is due, and after the last step: the losses of that step were still finite."""
    kept: list[bytes] = []
    trainer, training, _ = diverging(tmp_path, {at}, monkeypatch, weights=True, every=every)
    monkeypatch.setattr(training, "_checkpoint", lambda state: kept.append(checkpoints.dump(state["trainer"])))
    trained = training.run()
    assert (trained.ended_by, trained.steps) == (ended, steps)
    assert all(bool(p.isfinite().all()) for network in trainer.networks.values() for p in network.parameters())
    for content in kept:
        networks = checkpoints.load(content)["networks"]
        assert all(bool(values.isfinite().all()) for weights in networks.values() for values in weights.values())

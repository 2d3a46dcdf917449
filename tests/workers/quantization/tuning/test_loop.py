"""The loop that every tuned method runs in, with a method that does what it is told."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from faceter.contracts.errors import FaceterError, ProblemKind
from faceter.contracts.quantizations import CurvePoint
from faceter.graphs.qdq import QuantizationPlan
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.methods_at_work import (
    CPU,
    SIGNALS,
    KilledError,
    Recording,
    digest,
    prepared_for,
    signal_network,
)
from workers.jobs.checkpoints import State
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning import loop
from workers.quantization.tuning.loop import Losses, Trainer, Tuned
from workers.quantization.tuning.network import QuantizedNetwork
from workers.quantization.tuning.session import Session
from workers.training.budget import Budget


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(prepared_for(signal_network(), SIGNALS), request_for(seed=1), CPU)


class Told(Trainer):
    """A method whose network is, after each step, as far from the float one as it is told.

    Args:
        session: What it works with.
        distances: How far it is after each step; 1 is as far as the network it starts from.
        losses: Its loss in each step; its distance if not given.
        calm: Whether losses are finite once the rate was lowered.
        phases: The first step of each phase after the first.
        ready_from: The first step after which its network is what was asked for.
        held_out_from: The first step after which there are inputs held out; others join them at every further one.
    """

    path = "nowhere"

    def __init__(
        self,
        session: Session,
        distances: Sequence[float],
        *,
        losses: Sequence[float] | None = None,
        calm: bool = True,
        phases: Sequence[int] = (),
        ready_from: int = 0,
        held_out_from: int | None = None,
    ) -> None:
        super().__init__(session)
        self.distances = distances
        self.steps = 0
        self.seen: list[tuple[int, float]] = []
        self._entered = 0
        self._told = losses or distances
        self._calm = calm
        self._phases = phases
        self._ready_from = ready_from
        self._held_out_from = held_out_from
        assert session.space is not None
        self._inputs = session.arranged(session.space.noise(64, 5))
        self._all = self._inputs
        self._plan = RawQuantization()(session.prepared, request_for()).plan
        self._exact = {
            name: value.detach().clone()
            for name, value in session.student(self._plan, learned_steps=False).network.trainable().items()
        }
        generator = torch.Generator().manual_seed(0)
        self._away = {
            name: torch.randn(value.shape, generator=generator) * value.abs().mean() * 0.3
            for name, value in self._exact.items()
        }
        self.student = session.student(self._plan, learned_steps=False)
        self._move(1.0)

    @property
    def start(self) -> QuantizationPlan:
        """The network it starts from."""
        return Told(self.session, []).student.plan()

    @property
    def phase(self) -> str:
        return f"phase {self._entered}"

    @property
    def ready(self) -> bool:
        return self.steps >= self._ready_from

    def turn(self, fraction: float) -> None:
        self._entered = sum(self.steps >= first for first in self._phases)

    def step(self, fraction: float) -> Losses:
        self.seen.append((self.steps, self.rate))
        distance, told = self.distances[self.steps], self._told[self.steps]
        if self._calm and self.rate < 1 and not math.isfinite(told):
            told = distance
        self.steps += 1
        self._move(distance)
        return {"distance": torch.tensor(told), "twice": 2 * told}

    def held_out(self) -> Tensor | None:
        if self._held_out_from is None:
            return self._inputs
        if self.steps < self._held_out_from:
            return None
        wanted = min(64, 8 * (1 + self.steps - self._held_out_from))
        if len(self._inputs) != wanted:
            self._inputs = self._all[:wanted]
        return self._inputs

    def synthetic(self) -> Tensor | None:
        return None

    def state(self) -> State:
        return {"steps": self.steps, "entered": self._entered, "student": self.student.state_dict()}

    def restore(self, state: State) -> None:
        self.steps, self._entered = state["steps"], state["entered"]
        self.student.load_state_dict(state["student"])

    @torch.no_grad()
    def _move(self, distance: float) -> None:
        for name, value in self.student.network.trainable().items():
            value.copy_(self._exact[name] + distance * self._away[name])


def plan_at(session: Session, distance: float) -> QuantizationPlan:
    told = Told(session, [distance])
    told.step(0.0)
    return told.student.plan()


def run(trainer: Told, steps: int | None = None, hooks: Recording | None = None, **options: object) -> Tuned:
    budget = Budget(steps=len(trainer.distances) if steps is None else steps)
    return loop.run(trainer, trainer.start, budget, hooks or Recording(), **options)  # type: ignore[arg-type]


def test_no_budget_gives_the_start_back(session: Session) -> None:
    trainer = Told(session, [0.1])
    start = trainer.start
    tuned = loop.run(trainer, start, Budget(steps=0))
    assert tuned.plan is start
    assert (tuned.tuning.steps, tuned.tuning.kept_step, tuned.tuning.phases, tuned.curves) == (0, 0, [], [])
    assert trainer.steps == 0


@pytest.mark.parametrize("distances", [[1.5, 0.1, 0.8, 0.4], [0.9, 0.5, 0.1], [0.1, 0.2, 0.3, 0.4, 0.5]])
def test_the_network_with_the_least_divergence_is_kept(distances: list[float], session: Session) -> None:
    tuned = run(Told(session, distances))
    assert tuned.tuning.kept_step == distances.index(0.1) + 1
    assert digest(tuned.plan) == digest(plan_at(session, 0.1))
    assert tuned.tuning.agreement == max(point.agreement or 0 for point in tuned.curves)


def test_the_start_is_kept_where_nothing_is_better(session: Session) -> None:
    trainer = Told(session, [1.5, 2.0, 1.2])
    start = trainer.start
    tuned = loop.run(trainer, start, Budget(steps=3))
    assert tuned.plan is start
    assert tuned.tuning.kept_step == 0
    assert tuned.tuning.agreement is not None, "that of the start"


def test_accuracy_is_shown_and_nothing_is_chosen_by_it(session: Session) -> None:
    """It is best where the network is worst."""
    distances = [0.9, 0.2, 1.4, 0.6]
    trainer = Told(session, distances)
    hooks = Recording()
    asked: list[QuantizedNetwork] = []

    def accuracy(network: QuantizedNetwork) -> float:
        asked.append(network)
        return min(1.0, distances[trainer.steps - 1] / 2)

    tuned = run(trainer, hooks=hooks, accuracy=accuracy)
    assert tuned.tuning.kept_step == 2
    assert [point.accuracy for point in tuned.curves] == [0.45, 0.1, 0.7, 0.3]
    assert all(network is trainer.student for network in asked)
    plain = run(Told(session, distances))
    assert digest(plain.plan) == digest(tuned.plan)
    assert [point.accuracy for point in plain.curves] == [None] * 4


def test_a_network_on_the_way_down_is_never_kept(session: Session) -> None:
    distances = [0.1, 0.1, 0.7, 0.6]
    tuned = run(Told(session, distances, ready_from=3))
    assert tuned.tuning.kept_step == 4
    never = run(Told(session, distances, ready_from=9))
    assert never.tuning.kept_step == 0
    assert [point.agreement is not None for point in never.curves[:3]] == [True] * 3, "though it is shown"


def test_the_best_of_other_inputs_is_measured_again(session: Session) -> None:
    """As inputs are held out one after the other, networks are compared on the same ones."""
    distances = [0.9, 0.3, 0.5, 0.1, 0.4, 0.6]
    tuned = run(Told(session, distances, held_out_from=2))
    assert tuned.tuning.kept_step == 4
    assert tuned.held_out is not None
    assert len(tuned.held_out) == 40
    assert tuned.curves[0].agreement is None, "there was nothing to measure it on"
    assert tuned.curves[1].agreement is not None


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_a_request_ends_it_with_the_best_so_far(stop_after: int, session: Session) -> None:
    distances = [0.5, 0.2, 0.9, 0.1, 0.1]
    tuned = run(Told(session, distances), hooks=Recording(stop_after=stop_after))
    assert tuned.tuning.ended_by == "request"
    assert tuned.tuning.steps == stop_after
    assert tuned.tuning.kept_step == {0: 0, 1: 1, 3: 2}[stop_after]
    assert run(Told(session, distances)).tuning.ended_by == "budget"


def test_it_tells_how_far_it_is_at_every_step(session: Session) -> None:
    hooks = Recording()
    run(Told(session, [0.5, 0.4, 0.3, 0.2], phases=[2]), hooks=hooks)
    assert [fraction for fraction, _ in hooks.told] == [0.25, 0.5, 0.75, 1.0]
    assert [training.step for _, training in hooks.told] == [1, 2, 3, 4]
    assert [training.phase for _, training in hooks.told] == ["phase 0", "phase 0", "phase 1", "phase 1"]
    assert [round(training.losses["distance"], 5) for _, training in hooks.told] == [0.5, 0.4, 0.3, 0.2]
    assert all(training.agreement is not None for _, training in hooks.told[:3])


def test_time_and_steps_are_counted_by_phase(session: Session) -> None:
    tuned = run(Told(session, [0.5] * 7, phases=[2, 5]))
    assert [(phase.name, phase.steps) for phase in tuned.tuning.phases] == [
        ("phase 0", 2),
        ("phase 1", 3),
        ("phase 2", 2),
    ]
    assert all(phase.seconds >= 0 for phase in tuned.tuning.phases)


def test_curves_are_means_between_points_few_and_finite(session: Session) -> None:
    steps = 600
    distances = [0.2 + 0.001 * index for index in range(steps)]
    tuned = run(Told(session, distances))
    assert 195 <= len(tuned.curves) <= 202
    assert sum(point.agreement is not None for point in tuned.curves) == 41, "measured 40 times and at the end"
    assert tuned.curves[-1].step == steps
    assert tuned.curves[-1].agreement is not None
    after = 0
    for point in tuned.curves:
        expected = sum(distances[after : point.step]) / (point.step - after)
        assert point.losses == {
            "distance": pytest.approx(expected, rel=1e-5),
            "twice": pytest.approx(2 * expected, rel=1e-5),
        }
        after = point.step
    text = TypeAdapter(list[CurvePoint]).dump_json(tuned.curves)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_budget_in_seconds_goes_by_the_clock(session: Session) -> None:
    class Slow(Told):
        now = 0.0

        def step(self, fraction: float) -> Losses:
            type(self).now += 4.0
            self.fractions = [*getattr(self, "fractions", []), fraction]
            return super().step(fraction)

    trainer = Slow(session, [0.5] * 100)
    tuned = loop.run(trainer, trainer.start, Budget(seconds=18.0, clock=lambda: Slow.now))
    assert trainer.steps == 5, "the fifth step begins before 18 seconds are over, and no other does"
    assert trainer.fractions == pytest.approx([0, 4 / 18, 8 / 18, 12 / 18, 16 / 18])
    assert tuned.tuning.seconds == 20.0
    assert tuned.tuning.phases[0].seconds == 20.0


NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize("wrong", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("at", [2, 3], ids=["in the first step of a phase", "later in it"])
def test_a_loss_that_is_not_finite_begins_the_phase_again_at_a_lower_rate(
    at: int, wrong: float, session: Session
) -> None:
    distances = [0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    losses = [wrong if step == at else distance for step, distance in enumerate(distances)]
    trainer = Told(session, distances, losses=losses, phases=[2])
    hooks = Recording()
    steps = at + 1 + 4
    tuned = run(trainer, steps=steps, hooks=hooks)
    assert trainer.seen == [(step, 1.0) for step in range(at + 1)] + [(step, 0.2) for step in range(2, 6)]
    assert tuned.tuning.restarts == 1
    assert tuned.tuning.steps == steps, "what went wrong is paid for"
    assert digest(tuned.plan) == digest(plan_at(session, 0.1))
    assert all(math.isfinite(value) for point in tuned.curves for value in point.losses.values())
    assert len(hooks.told) == steps - 1


def test_a_second_time_is_a_failure_with_its_curve(session: Session) -> None:
    losses = [0.5, 0.4, NAN, 0.1]
    trainer = Told(session, [0.5, 0.4, 0.3, 0.1], losses=losses, calm=False)
    with pytest.raises(FaceterError, match="diverged a second time") as caught:
        run(trainer, steps=9)
    error = caught.value
    assert error.kind is ProblemKind.TUNING_DIVERGED
    assert "distance is nan, twice is nan after 6 steps" in error.detail
    document = error.problem().model_dump(mode="json")
    curves = document["curves"]
    assert [point["step"] for point in curves] == [1, 2, 4, 5]
    json.dumps(document, allow_nan=False)
    assert [CurvePoint.model_validate(point).losses["distance"] for point in curves] == pytest.approx([0.5, 0.4] * 2)


def test_a_network_that_is_no_longer_finite_is_neither_kept_nor_a_crash(session: Session) -> None:
    """Its losses are told as finite; its outputs are not."""
    distances = [0.5, NAN, 0.9]
    tuned = run(Told(session, distances, losses=[0.5, 0.4, 0.9]))
    assert tuned.tuning.kept_step == 1
    assert all(point.agreement is None or 0 <= point.agreement <= 1 for point in tuned.curves)


@pytest.mark.parametrize("killed_after", [1, 4, 5, 7])
def test_an_interruption_changes_nothing(killed_after: int, session: Session) -> None:
    """Not the best so far, nor the curve, nor a restart before or after it."""
    distances = [0.9, 0.6, 0.3, 0.5, 0.8, 0.2, 0.7, 0.4]
    losses = [0.9, 0.6, 0.3, NAN, 0.8, 0.2, NAN, 0.4]

    def begun() -> Told:
        return Told(session, distances, losses=losses, phases=[2])

    expected = run(begun(), steps=9)
    hooks = Recording(every=1, killed_after=killed_after)
    with pytest.raises(KilledError):
        run(begun(), steps=9, hooks=hooks)
    trainer = begun()
    again = run(trainer, steps=9, hooks=Recording(checkpoint=hooks.checkpoint))
    timeless: dict[str, Any] = {"seconds": True, "phases": {"__all__": {"seconds"}}, "resumed": True}
    assert again.tuning.model_dump(exclude=timeless) == expected.tuning.model_dump(exclude=timeless)
    assert (expected.tuning.resumed, again.tuning.resumed) == (0, 1)
    assert digest(again.plan) == digest(expected.plan)
    assert [point.model_dump(exclude={"seconds"}) for point in again.curves] == [
        point.model_dump(exclude={"seconds"}) for point in expected.curves
    ]
    assert trainer.seen[-1][1] == 0.2, "at the lower rate, whenever it was lowered"


def test_seconds_before_an_interruption_count(session: Session) -> None:
    now = 0.0

    class Slow(Told):
        def step(self, fraction: float) -> Losses:
            nonlocal now
            now += 2.0
            return super().step(fraction)

    hooks = Recording(every=1, killed_after=3)
    first = Slow(session, [0.5] * 20)
    with pytest.raises(KilledError):
        loop.run(first, first.start, Budget(seconds=12.0, clock=lambda: now), hooks)
    now += 1000
    second = Slow(session, [0.5] * 20)
    tuned = loop.run(
        second, second.start, Budget(seconds=12.0, clock=lambda: now), Recording(checkpoint=hooks.checkpoint)
    )
    assert tuned.tuning.steps == 6
    assert tuned.tuning.seconds == 12.0


def test_no_checkpoint_is_kept_unasked(session: Session) -> None:
    hooks = Recording()
    run(Told(session, [0.5, 0.4]), hooks=hooks)
    assert hooks.checkpoint is None


def test_what_was_begun_without_a_hook_is_part_of_no_job(session: Session) -> None:
    trainer = Told(session, [0.5, 0.4])
    assert loop.run(trainer, trainer.start, Budget(steps=2)).tuning.steps == 2

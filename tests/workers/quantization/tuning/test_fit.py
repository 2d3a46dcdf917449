"""A run of a tuned method: the best on held-out inputs is kept, with a trainer whose distances are given."""

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
from faceter.graphs.quantization_plan import QuantizationPlan
from tests.workers.quantization.networks import request_for
from tests.workers.quantization.tuning.light_methods import (
    CPU,
    SIGNALS,
    digest,
    prepared_for,
    signal_network,
)
from tests.workers.training.fakes import KilledError, RecordingCallbacks
from workers.jobs.checkpoints import State
from workers.quantization.rq import RawQuantization
from workers.quantization.tuning.fit import TuningResult, fit
from workers.quantization.tuning.session import TuningSession
from workers.quantization.tuning.student.network import QuantizedNetwork
from workers.quantization.tuning.trainer import TuningTrainer
from workers.training.budget import Budget
from workers.training.trainer import Losses


@pytest.fixture(scope="module")
def session() -> TuningSession:
    return TuningSession(prepared_for(signal_network(), SIGNALS), request_for(seed=1), CPU)


class ScriptedTrainer(TuningTrainer):
    """A trainer whose student has a given distance from the float network after each step.

    Args:
        distances: The distance after each step; that of the start is 1.
        losses: The loss of each step; the distance by default.
        calm: Whether losses are finite once the rate was lowered.
        phases: The first step of each phase after the first.
        ready_from: The first step after which its student is ready.
        held_out_from: The first step after which there are held-out inputs; more join them at every further step.
    """

    path = "nowhere"

    def __init__(
        self,
        session: TuningSession,
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
        self._losses = losses or distances
        self._calm = calm
        self._phases = phases
        self._ready_from = ready_from
        self._held_out_from = held_out_from
        assert session.space is not None
        self._inputs = session.to_device(session.space.noise(64, 5))
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
        return ScriptedTrainer(self.session, []).student.plan()

    @property
    def phase(self) -> str:
        return f"phase {self._entered}"

    @property
    def ready(self) -> bool:
        return self.steps >= self._ready_from

    def enter_phase(self, fraction: float) -> None:
        self._entered = sum(self.steps >= first for first in self._phases)

    def step(self, fraction: float) -> Losses:
        self.seen.append((self.steps, self.rate))
        distance, loss = self.distances[self.steps], self._losses[self.steps]
        if self._calm and self.rate < 1 and not math.isfinite(loss):
            loss = distance
        self.steps += 1
        self._move(distance)
        return {"distance": torch.tensor(loss), "twice": 2 * loss}

    def held_out(self) -> Tensor | None:
        if self._held_out_from is None:
            return self._inputs
        if self.steps < self._held_out_from:
            return None
        count = min(64, 8 * (1 + self.steps - self._held_out_from))
        if len(self._inputs) != count:
            self._inputs = self._all[:count]
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


def plan_at(session: TuningSession, distance: float) -> QuantizationPlan:
    trainer = ScriptedTrainer(session, [distance])
    trainer.step(0.0)
    return trainer.student.plan()


def run(
    trainer: ScriptedTrainer, steps: int | None = None, callbacks: RecordingCallbacks | None = None, **options: object
) -> TuningResult:
    budget = Budget(steps=len(trainer.distances) if steps is None else steps)
    return fit(trainer, trainer.start, budget, callbacks or RecordingCallbacks(), **options)  # type: ignore[arg-type]


def test_without_a_budget_the_start_is_returned(session: TuningSession) -> None:
    trainer = ScriptedTrainer(session, [0.1])
    start = trainer.start
    tuned = fit(trainer, start, Budget(steps=0))
    assert tuned.plan is start
    assert (tuned.tuning.steps, tuned.tuning.kept_step, tuned.tuning.phases, tuned.curves) == (0, 0, [], [])
    assert trainer.steps == 0


@pytest.mark.parametrize("distances", [[1.5, 0.1, 0.8, 0.4], [0.9, 0.5, 0.1], [0.1, 0.2, 0.3, 0.4, 0.5]])
def test_the_network_with_the_least_divergence_is_kept(distances: list[float], session: TuningSession) -> None:
    tuned = run(ScriptedTrainer(session, distances))
    assert tuned.tuning.kept_step == distances.index(0.1) + 1
    assert digest(tuned.plan) == digest(plan_at(session, 0.1))
    assert tuned.tuning.agreement == max(point.agreement or 0 for point in tuned.curves)


def test_the_start_is_kept_if_nothing_is_better(session: TuningSession) -> None:
    trainer = ScriptedTrainer(session, [1.5, 2.0, 1.2])
    start = trainer.start
    tuned = fit(trainer, start, Budget(steps=3))
    assert tuned.plan is start
    assert tuned.tuning.kept_step == 0
    assert tuned.tuning.agreement is not None, "that of the start"


def test_accuracy_is_shown_and_nothing_is_chosen_by_it(session: TuningSession) -> None:
    """It is best where the network is worst."""
    distances = [0.9, 0.2, 1.4, 0.6]
    trainer = ScriptedTrainer(session, distances)
    callbacks = RecordingCallbacks()
    measured: list[QuantizedNetwork] = []

    def accuracy(network: QuantizedNetwork) -> float:
        measured.append(network)
        return min(1.0, distances[trainer.steps - 1] / 2)

    tuned = run(trainer, callbacks=callbacks, accuracy=accuracy)
    assert tuned.tuning.kept_step == 2
    assert [point.accuracy for point in tuned.curves] == [0.45, 0.1, 0.7, 0.3]
    assert all(network is trainer.student for network in measured)
    plain = run(ScriptedTrainer(session, distances))
    assert digest(plain.plan) == digest(tuned.plan)
    assert [point.accuracy for point in plain.curves] == [None] * 4


def test_a_student_that_is_not_ready_is_never_kept(session: TuningSession) -> None:
    distances = [0.1, 0.1, 0.7, 0.6]
    tuned = run(ScriptedTrainer(session, distances, ready_from=3))
    assert tuned.tuning.kept_step == 4
    never = run(ScriptedTrainer(session, distances, ready_from=9))
    assert never.tuning.kept_step == 0
    assert [point.agreement is not None for point in never.curves[:3]] == [True] * 3, "though it is shown"


def test_the_best_of_other_inputs_is_measured_again(session: TuningSession) -> None:
    """As inputs are held out one after the other, networks are compared on the same ones."""
    distances = [0.9, 0.3, 0.5, 0.1, 0.4, 0.6]
    tuned = run(ScriptedTrainer(session, distances, held_out_from=2))
    assert tuned.tuning.kept_step == 4
    assert tuned.held_out is not None
    assert len(tuned.held_out) == 40
    assert tuned.curves[0].agreement is None, "there was nothing to measure it on"
    assert tuned.curves[1].agreement is not None


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_finishing_early_keeps_the_best_so_far(stop_after: int, session: TuningSession) -> None:
    distances = [0.5, 0.2, 0.9, 0.1, 0.1]
    tuned = run(ScriptedTrainer(session, distances), callbacks=RecordingCallbacks(stop_after=stop_after))
    assert tuned.tuning.ended_by == "request"
    assert tuned.tuning.steps == stop_after
    assert tuned.tuning.kept_step == {0: 0, 1: 1, 3: 2}[stop_after]
    assert run(ScriptedTrainer(session, distances)).tuning.ended_by == "budget"


def test_curves_are_means_between_points_few_and_finite(session: TuningSession) -> None:
    steps = 600
    distances = [0.2 + 0.001 * index for index in range(steps)]
    tuned = run(ScriptedTrainer(session, distances))
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


NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize("wrong", [NAN, INFINITY, -INFINITY])
@pytest.mark.parametrize("at", [2, 3], ids=["in the first step of a phase", "later in it"])
def test_a_loss_that_is_not_finite_begins_the_phase_again_at_a_lower_rate(
    at: int, wrong: float, session: TuningSession
) -> None:
    distances = [0.5, 0.4, 0.3, 0.2, 0.15, 0.1]
    losses = [wrong if step == at else distance for step, distance in enumerate(distances)]
    trainer = ScriptedTrainer(session, distances, losses=losses, phases=[2])
    callbacks = RecordingCallbacks()
    steps = at + 1 + 4
    tuned = run(trainer, steps=steps, callbacks=callbacks)
    assert trainer.seen == [(step, 1.0) for step in range(at + 1)] + [(step, 0.2) for step in range(2, 6)]
    assert tuned.tuning.restarts == 1
    assert tuned.tuning.steps == steps, "steps of the first try stay counted"
    assert digest(tuned.plan) == digest(plan_at(session, 0.1))
    assert all(math.isfinite(value) for point in tuned.curves for value in point.losses.values())
    assert len(callbacks.reports) == steps - 1


def test_a_second_divergence_is_a_failure_with_its_curves(session: TuningSession) -> None:
    losses = [0.5, 0.4, NAN, 0.1]
    trainer = ScriptedTrainer(session, [0.5, 0.4, 0.3, 0.1], losses=losses, calm=False)
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


def test_a_student_that_is_no_longer_finite_is_not_kept(session: TuningSession) -> None:
    """Its losses are finite; its outputs are not."""
    distances = [0.5, NAN, 0.9]
    tuned = run(ScriptedTrainer(session, distances, losses=[0.5, 0.4, 0.9]))
    assert tuned.tuning.kept_step == 1
    assert all(point.agreement is None or 0 <= point.agreement <= 1 for point in tuned.curves)


@pytest.mark.parametrize("killed_after", [1, 4, 5, 7])
def test_an_interruption_changes_nothing(killed_after: int, session: TuningSession) -> None:
    """Not the best so far, nor the curve, nor a restart before or after it."""
    distances = [0.9, 0.6, 0.3, 0.5, 0.8, 0.2, 0.7, 0.4]
    losses = [0.9, 0.6, 0.3, NAN, 0.8, 0.2, NAN, 0.4]

    def begun() -> ScriptedTrainer:
        return ScriptedTrainer(session, distances, losses=losses, phases=[2])

    expected = run(begun(), steps=9)
    callbacks = RecordingCallbacks(every=1, killed_after=killed_after)
    with pytest.raises(KilledError):
        run(begun(), steps=9, callbacks=callbacks)
    trainer = begun()
    again = run(trainer, steps=9, callbacks=RecordingCallbacks(checkpoint=callbacks.checkpoint))
    timeless: dict[str, Any] = {"seconds": True, "phases": {"__all__": {"seconds"}}, "resumed": True}
    assert again.tuning.model_dump(exclude=timeless) == expected.tuning.model_dump(exclude=timeless)
    assert (expected.tuning.resumed, again.tuning.resumed) == (0, 1)
    assert digest(again.plan) == digest(expected.plan)
    assert [point.model_dump(exclude={"seconds"}) for point in again.curves] == [
        point.model_dump(exclude={"seconds"}) for point in expected.curves
    ]
    assert trainer.seen[-1][1] == 0.2, "at the lower rate, whenever it was lowered"
